# Prints `lines` JSON lines of odd sizes: the empty string, one byte, Unicode, exactly 1,300 bytes,
# every small length, numbers no float holds, escapes, objects with odd spacing. Always the same.
# Why: what comes out of the command must be these bytes, so nothing here may be normalised.
# Example: awk -v lines=1000 -f scripts/e2e-lines.awk
BEGIN {
  while (length(letters) < 1300) letters = letters "abcdefghijklmnopqrstuvwxyz0123456789"
  for (i = 0; i < lines; i++) {
    kind = i % 12
    if (kind == 0) print "\"\""
    else if (kind == 1) print i % 10
    else if (kind == 2) print "\"" substr(letters, 1, 1) "\""
    else if (kind == 3) print "\"Příliš žluťoučký kůň 🐎 漢字 العربية " i "\""
    else if (kind == 4) print exactly(1300, i)
    else if (kind == 5) print "{\"index\":" i ",\"name\":\"" substr(letters, 1, i % 60) "\"}"
    else if (kind == 6) print "[" i ", [ ], {} ,[[null,true , false]]]"
    else if (kind == 7) print "-" i ".000e-7"
    else if (kind == 8) print "1234567890123456789012345678901234567890" i
    else if (kind == 9) print "\"\\\"\\\\\\/\\b\\n\\u0000\\ud83d\\ude00 " i "\""
    else if (kind == 10) print "\"" i " " substr(letters, 1, int(i / 12) % 258) "\""
    else print "{ \"b\" : " i " , \"a\" : { \"\" : \"\" } , \"b\" : 0 }"
  }
}

# A string of `bytes` bytes with its quotes, beginning with its number.
function exactly(bytes, number) {
  return "\"" number substr(letters, 1, bytes - 2 - length(number "")) "\""
}
