// Command breeze shows what an openr agent knows and does, and tells it what to do. It asks the agent's control API and
// prints tables for people, or with --json the same for machines.
//
// Its commands are Open/R's: breeze spark neighbors, lm links, kvstore keys, decision routes, fib routes, openr status ...
// Any beginning of a command's name will do as long as it is not ambiguous. It works with any agent that speaks Open/R's
// control API, ours or not.
//
// # How a command is added
//
// Each group of commands (kvstore, decision, spark ...) has files of its own, named after it; the constructor of the group is
// listed in (*app).command. A command is a *cobra.Command whose RunE is
//
//	a.run(func(s *session, args []string) error { ... })
//
// A session is a connection to the agent (it has the methods of the generated client, and s.ctx) and all of app: the flags, and
// what prints. run connects, explains errors, and leaves the exit code to main. What to use in a command:
//
//	a.json, a.printJSON(v)         the same as JSON: Thrift structs get Open/R's keys (json.go); the schema of a command is stable
//	a.table, a.caption, a.printf   text for people (print.go); a.paint(red, text) colours it if colours are wanted (color.go)
//	a.done(format, ...)            the one line of a command that changes something, as text or JSON
//	a.confirm(question, yes)       asks before something is changed that others notice; yesFlag(cmd) declares --yes
//	pair(cmd, &v, "detail", ...)   a flag --detail together with --no-detail
//	usagef(format, ...)            an error in what was typed: exit code 2. Any other error: 1. exitCode(n): n, silently
//	s.subscribe(...)               a stream (connect.go)
//	a.fibAgent(host, port)         the FibService of a switch agent; a.connect(ctx, host): another openr
//	a.validateCommand(...)         a validate command; `breeze openr validate` runs those listed in validations (validate.go)
//
// Tests run whole command lines against an agent made of stubs and compare what is printed with testdata/*.golden (fake_test.go).
package main
