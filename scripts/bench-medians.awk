# Prints a Markdown table of the numbers in JSON rows: median, least and greatest of each field.
# Why: five runs are read by their median; no tool but awk is needed. Fields of nested objects are
# written with dots, elements of arrays by their index; strings, true, false and null are left out,
# and so is the machine, which has a file of its own.
# Example: awk -f scripts/bench-medians.awk bench/runs/2026-01-31-some-cpu-2c/udp-64.jsonl

# One row: walk its tokens, keeping the path of names to the value at hand.
{
  rest = $0
  depth = 0
  key = ""
  while (match(rest, /"([^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[a-z]+|[][{}:,]/)) {
    token = substr(rest, RSTART, RLENGTH)
    rest = substr(rest, RSTART + RLENGTH)
    if (token == "{" || token == "[") {
      depth++
      prefix[depth] = depth == 1 ? "" : name_of(depth - 1) "."
      element[depth] = token == "[" ? 0 : -1
    } else if (token == "}" || token == "]") {
      depth--
    } else if (token == ",") {
      if (element[depth] >= 0) element[depth]++
    } else if (token ~ /^"/ && rest ~ /^[ \t]*:/) {
      key = substr(token, 2, length(token) - 2)
      field[depth] = key
    } else if (token ~ /^-?[0-9]/) {
      record(name_of(depth), token + 0)
    }
  }
}

# The full name of the value at `level`.
function name_of(level) {
  return prefix[level] (element[level] >= 0 ? element[level] : field[level])
}

# Keeps the values of each name sorted as they come.
function record(name, value,    place) {
  if (name ~ /^machine\./) return
  if (!(name in count)) order[++names] = name
  place = ++count[name]
  while (place > 1 && values[name, place - 1] > value) {
    values[name, place] = values[name, place - 1]
    place--
  }
  values[name, place] = value
}

# Large and whole numbers without decimals, others with enough digits to compare runs.
function shown(value) {
  return value >= 1000 || value == int(value) ? sprintf("%.0f", value) : sprintf("%.4g", value)
}

END {
  print "| field | median | least | greatest | runs |"
  print "|---|---|---|---|---|"
  for (i = 1; i <= names; i++) {
    name = order[i]
    n = count[name]
    middle = int((n + 1) / 2)
    median = (values[name, middle] + values[name, n - middle + 1]) / 2
    printf "| %s | %s | %s | %s | %d |\n", name, shown(median), shown(values[name, 1]), \
      shown(values[name, n]), n
  }
}
