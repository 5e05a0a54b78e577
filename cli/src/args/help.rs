//! The parts of the help texts that are written by hand: what a command is for, examples that run,
//! exit statuses. At most 80 columns.

/// Below the list of commands.
pub(crate) const OVERVIEW: &str = "\
Try it:
  wireloom demo                          three nodes on this host, live

  wireloom sub --listen udp://127.0.0.1:9000                  in one terminal,
  echo '{\"hello\":\"world\"}' |
    wireloom pub --to udp://127.0.0.1:9000 --type greeting    in another

Exit status:
  0  all well
  1  something was refused or lost, or the ledger did not balance
  2  wrong words on the command line, or it could not start (a port in use,
     no permission, no such file): one line says what to do

Colours are left out when the output is no terminal or NO_COLOR is set.
'wireloom COMMAND --help' explains a command with examples.";

/// Below the options of `pub`.
pub(crate) const PUB: &str = "\
Each line of FILE is one event; the line's JSON travels exactly as it stands.
With --raw a line may be any UTF-8 text, and travels as a JSON string.

Examples:
  Publish a log as events of the type log, 2,000 a second:
    wireloom pub --to udp://127.0.0.1:9000 --type log --raw --rate 2k app.log

  Publish what another program prints, to every node of a multicast group:
    jq -c '.orders[]' day.json |
      wireloom pub --to udp://224.1.1.1:9000 --type order

  Publish one event that passes everything else on its way:
    echo '{\"valve\":7}' |
      wireloom pub --to udp://10.0.0.7:9000 --type valve --priority critical \\
        --insecure

  Publish to a member of a cluster by its name, and to one that offers a
  service, reliably; --wait says how long to look for them:
    wireloom pub --to node:desk --type note --raw notes.txt
    wireloom pub --to reliable:service:sum --type term --seed 10.0.0.7:9000 \\
      --insecure -

At the end one JSON object stands on standard error:
  {\"accepted\":1998,\"refused\":{\"malformed\":2}}
Accepted means sent. Whether it arrived, UDP does not say: the subscriber knows
what it lost. Reasons: malformed (not JSON), invalid_utf8, too_large (for the
path), back_pressured (the sender stood still for five seconds).
A line that is refused is told as FILE:LINE:COLUMN: REASON; the rest goes on.

Exit status:
  0  every line was accepted and sent
  1  a line was refused, or the system would not send
  2  wrong words, no such file, or the node could not start";

/// Below the options of `node`.
pub(crate) const NODE: &str = "\
Nodes find each other by multicast in a group, by seeds, or both. A node that
is asked to end says goodbye; one that dies is missed after 3.5 to 6 seconds
among ten, after 6.5 to 10 among a hundred.

Examples:
  Two nodes on this host, in two terminals:
    wireloom node --name one
    wireloom node --name two --service sum

  A node that is reached from other machines, on a network without multicast:
    wireloom node --name one --listen 0.0.0.0:9000 --insecure \\
      --no-group --seed db-1:9000

  With rules of routing that may be exchanged while it runs:
    wireloom node --rules live.toml

  Proving who it is, and holding others to a policy that may be exchanged:
    wireloom node --name desk --credentials keys --policy policy.toml \\
      --audit audit.jsonl

  All of that from a file, with one value above it:
    wireloom node --config node.toml --set tcp.pool=8

Exit status:
  0  it ended in good order
  1  its ledger did not balance
  2  wrong words, or the node could not start";

/// Below the options of `explain`.
pub(crate) const EXPLAIN: &str = "\
Asked in this order: the target itself, the rules, critical priority, the table
of types, the size, and UDP for everything else. Nothing is sent.

Examples:
  By which way would a large event go to this address, and why:
    wireloom explain --type metric.cpu --to node:127.0.0.1:9000 --bytes 100000

  With the rules of a file, or of a node's configuration:
    wireloom explain --type error --to service:log --rules rules.toml
    wireloom explain --type error --to service:log --config node.toml

  A type of your own that names a group:
    wireloom explain --type tick --to auto --multicast 239.1.2.3:9000

  Which member of a running cluster that is now:
    wireloom explain --type note --to node:desk --seed 10.0.0.7:9000 --insecure

  Which member an event's own key chooses: of a number, of a text, and of a text
  that looks like a number, as the field #[event(key = …)] has it:
    wireloom explain --type tick --to 'service:log?key' --key 42 --seed …
    wireloom explain --type tick --to 'service:log?key' --key 'tram 7' --seed …
    wireloom explain --type tick --to 'service:log?key' --key text:42 --seed …
  Behind ?key= of a target a text means the same; a number there is no field's
  value but the key itself, as this command shows it.

Exit status:
  0  it would go
  1  it would be refused
  2  wrong words, or something is wrong with the rules";

/// Below the subcommands of `rules`.
pub(crate) const RULES: &str = "\
Rules stand in a node's configuration or in a file of their own:
  [[rule]]
  type = \"metric.*\"          a pattern; metric.** is everything below
  priority = \">= high\"
  size = \"> 1400\"
  to = \"service:*\"           the target asked for
  target = \"service:metrics\" where it goes instead
  transport = \"tcp\"          udp, tcp, multicast, broadcast or local

Examples:
  See what is wrong, each with its line:
    wireloom rules check rules.toml

  See what new rules would change, then let running nodes take them:
    wireloom node --rules live.toml &
    wireloom rules apply --dry-run new.toml --into live.toml
    wireloom rules apply new.toml --into live.toml

No node is told over the network: those started with --rules FILE look at their
file once a second. What is wrong with it they say, and keep what they had.

Exit status:
  0  all well
  2  something is wrong with the rules or the command line";

/// Below the subcommands of `policy`.
pub(crate) const POLICY: &str = "\
What no line allows is denied, and a deny wins wherever it stands:
  [[role]]
  name = \"sensor\"
  nodes = [\"greenhouse-1\"]    or by the role of a certificate
  [[allow]]
  role = \"sensor\"             role, node or both; node = \"*\" is every node
  verb = \"publish\"            publish, subscribe, request, admin, replay
  types = \"metric.**\"
  [[limit]]                   of each node and type
  role = \"sensor\"
  types = \"metric.**\"
  rate = 1000

Examples:
  See what is wrong, each with its line, and what it says to somebody:
    wireloom policy check policy.toml
    wireloom policy explain policy.toml --node greenhouse-1 --verb publish \\
      --type metric.cpu

  See what a new policy would change, then let running nodes take it:
    wireloom node --policy live.toml &
    wireloom policy apply new.toml --to live.toml --dry-run
    wireloom policy apply new.toml --to live.toml

No node is told over the network: those started with --policy FILE look at their
file once a second. What is wrong with it they say, and keep what they had; a
node does not start with a wrong one. mode = \"shadow\" counts and refuses
nothing.

Exit status:
  0  all well; it may
  1  it may not (explain)
  2  something is wrong with the policy or the command line";

/// Below the options of `ca`.
pub(crate) const CA: &str = "\
The authority of a cluster is a folder: ca.key signs, ca.pem is what nodes
trust, issued.wl lists what was issued, revoked.wl what was taken back. It needs
no network, and is best kept where there is none.

Examples:
  Begin a cluster, and give a node its identity:
    wireloom ca init --cluster plant
    wireloom ca issue desk --service sum --role sensor --out desk-files

  Renew it before its 30 days are over; a running node takes the new files:
    wireloom ca issue desk --replace --out desk-files

  A machine was stolen: take back what it has, and tell the nodes:
    wireloom ca revoke desk
    scp wireloom-ca/revoked.wl NODE:FOLDER/

  See what there is, and what ends soon:
    wireloom ca show
    wireloom ca show desk-files/desk.pem --json

A key is never overwritten without --replace, and an authority never.

Exit status:
  0  all well
  2  wrong words, or a file that cannot be read, written or believed";

/// Below the options of `jtag-bridge`.
pub(crate) const JTAG_BRIDGE: &str = "\
A program of the legacy system connects to it as to its own server. Its event
messages become events (legacy-jtag) and reach every other client; events come
to it as event messages. Requests go to the clients that speak for their
endpoint, else to the targets, where other bridges are; without a response they
fail after 30 s. What is wrong with a message is told to its client by an event
transport:error.

Examples:
  Clients of one bridge among themselves, on the legacy port:
    wireloom jtag-bridge

  The legacy mesh, critical events to one node by TCP beside it:
    wireloom jtag-bridge --join 224.1.1.1:9000 --target udp://224.1.1.1:9000 \\
      --way critical=tcp://10.0.0.7:9000 --insecure

  Every node of a cluster that wants legacy events:
    wireloom jtag-bridge --seed db-1:9000 --target interested --insecure

A page may connect when it was loaded from this host, or from an origin that
--allow-origin names. A message has at most 10 MB.

At the end one JSON object stands on standard error: what clients sent, what
was refused by reason, what the fabric took.

Exit status:
  0  it ended in good order
  1  its ledger did not balance
  2  wrong words, the port is in use, or the node could not start";

/// Below the options of `members`.
pub(crate) const MEMBERS: &str = "\
Takes part in the cluster for as long as it shows it, as members-PID, which it
leaves out. The age is how long it has seen a member as it is.

Examples:
  Who is on this network:
    wireloom members
  For a script, from a cluster without multicast:
    wireloom members --listen 0.0.0.0:0 --insecure --no-group \\
      --seed 10.0.0.7:9000 --json | jq .members

Exit status:
  0  somebody answered
  1  nobody answered in time
  2  wrong words, or the node could not start";

/// Below the options of `sub`.
pub(crate) const SUB: &str = "\
Examples:
  Print everything that reaches port 9000 of this machine:
    wireloom sub --listen udp://127.0.0.1:9000

  Wait for one event of a type, five seconds at most, and use its payload:
    wireloom sub --listen udp://0.0.0.0:9000 --insecure --type greeting \\
      --count 1 --timeout 5s --format payload | jq .

  Watch a multicast group for a minute:
    wireloom sub --join 224.1.1.1:9000 --insecure --timeout 1m

  See how things stand now, however slow the terminal:
    wireloom sub --join 224.1.1.1:9000 --insecure --policy latest

  Be a member of a cluster that events reach by name, type or service:
    wireloom sub --name desk --type note --seed 10.0.0.7:9000 --insecure

Formats:
  json     {\"type\":…,\"source\":…,\"sequence\":…,\"timestamp_ns\":…,
           \"received_ns\":…,\"priority\":…,\"encoding\":…,\"payload\":…}
  payload  the JSON that was published, alone
A typed event whose Rust type this command does not know is shown as
{\"encoding\":\"rkyv\",\"bytes\":N,\"hex\":…} with its first 64 bytes.

On standard error a line that begins with \"ready: \" says that from now on what
comes is printed, and where it receives: a script waits for it. Losses are told
there when they are noticed. At the end (the count, the time, Ctrl-C) the ledger
stands there as one JSON object: what was received, printed, lost, shed, and
datagrams dropped by reason.

Exit status:
  0  --count was reached; or the time was over and no --count was given
  1  --count was not reached, it was cut off (--policy disconnect), or the
     ledger did not balance
  2  wrong words, or the node could not start (the port is in use, …)";

/// Below the subcommands of `config`.
pub(crate) const CONFIG: &str = "\
The later word counts: default, profile, file, environment, command line.
The variable of the key pool in [tcp] is WIRELOOM_TCP_POOL.

Examples:
  Begin a file of your own, and see what comes of it:
    wireloom config show server > node.toml
    wireloom config check node.toml

Exit status:
  0  all well
  2  something is wrong with the configuration or the command line";

/// Below the options of `schema`.
pub(crate) const SCHEMA: &str = "\
Examples:
  Which event types there are, and where they go:
    wireloom schema

  What a heartbeat looks like as JSON, and in its archive:
    wireloom schema heartbeat
    wireloom schema heartbeat --fields

Exit status:
  0  all well
  2  no event type of that name, or wrong words on the command line";

/// Below the options of `config check`.
pub(crate) const CONFIG_CHECK: &str = "\
Examples:
  See what is in effect, and who said it:
    wireloom config check node.toml

  With another profile below the file, and a value above everything:
    wireloom config check node.toml --profile cluster --set tcp.pool=8

  Which values come from the file:
    wireloom config check node.toml --json |
      jq '.config[] | select(.source | startswith(\"node.toml\"))'

A key that this version does nothing with says so in its row, and why below the
table. Faults are told all at once, as FILE:LINE:COLUMN: KEY: what is wrong,
what is allowed, and the nearest key or word for an unknown one.

Exit status:
  0  the configuration holds
  2  something is wrong with it, or the file cannot be read";

/// Below the arguments of `config show`.
pub(crate) const CONFIG_SHOW: &str = "\
Each key stands there with its meaning, what is allowed, and its default. A line
without '#' is what the profile says; a line behind '#' is the default.

Examples:
  Begin a file of your own:
    wireloom config show server > node.toml

  What two profiles differ in:
    diff <(wireloom config show server) <(wireloom config show cluster)

Exit status:
  0  all well
  2  no such profile";

/// Below the options of `demo`.
pub(crate) const DEMO: &str = "\
Three processes of this command start on this host. The first publishes the
lines of a file to the second by UDP, and this machine's own load and memory as
heartbeats to a multicast group, which the third watches. The table shows what
each node counted itself; latency is from the call that publishes an event to
the code of the other process that takes it. At the end the ledger is drawn up
over all three: every event accepted was delivered, or was lost or shed by name.

Examples:
  See it for ten seconds:
    wireloom demo

  Your own text, faster, for a minute:
    wireloom demo --file /var/log/syslog --rate 100k --seconds 60

  Whatever another program prints:
    seq 100000 | wireloom demo --file - --rate 50k

Exit status:
  0  the ledger balanced
  1  it did not
  2  wrong words, or a node could not start";

/// Below the arguments of `completions`.
pub(crate) const COMPLETIONS: &str = "\
Examples:
  Bash, for this user:
    wireloom completions bash \\
      > ~/.local/share/bash-completion/completions/wireloom

  Zsh, in a folder of $fpath:
    wireloom completions zsh > ~/.zfunc/_wireloom

  Fish:
    wireloom completions fish > ~/.config/fish/completions/wireloom.fish";
