// Command patchgen makes the Thrift compiler's Go generator write struct fields in the order of their declaration.
//
// Upstream sorts them by field id. Readers accept any order, but the KvStore's merge rule compares values byte by
// byte and hashes them, so our bytes have to be the ones that Open/R's C++ writes (fbthrift: declaration order).
package main

import (
	"fmt"
	"os"
	"strings"
)

const (
	function = "void t_go_generator::generate_go_struct_writer("
	before   = "tstruct->get_sorted_members()"
	after    = "tstruct->get_members()"
)

func main() {
	if err := patch(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "patchgen:", err)
		os.Exit(1)
	}
}

func patch(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, tail, ok := strings.Cut(string(b), function)
	if !ok || !strings.Contains(tail, before) {
		return fmt.Errorf("%s: the struct writer does not look as expected; has the Thrift version changed?", file)
	}
	return os.WriteFile(file, []byte(head+function+strings.Replace(tail, before, after, 1)), 0o644)
}
