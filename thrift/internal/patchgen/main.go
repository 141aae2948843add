// Command patchgen changes two lines of the Thrift compiler's Go generator before it is built.
//
// Struct writers emit fields in the order of their declaration, not sorted by id: readers accept any order, but the
// KvStore's merge rule compares values byte by byte and hashes them, so our bytes have to be the ones that Open/R's C++
// writes (fbthrift: declaration order). And a field whose name begins with an underscore, as many of the policy structs
// have, becomes an exported Go field (_description: XDescription); only the generator's own variables end in a digit.
package main

import (
	"fmt"
	"os"
	"strings"
)

// patches replace the first occurrence of before that follows function.
var patches = []struct{ function, before, after string }{
	{"void t_go_generator::generate_go_struct_writer(", "tstruct->get_sorted_members()", "tstruct->get_members()"},
	{"std::string t_go_generator::publicize(", "value2 = camelcase(value2);", `value2 = camelcase(value2[0] == '_' && !isdigit(value2.back()) ? "X" + value2 : value2);`},
}

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
	source := string(b)
	for _, p := range patches {
		head, tail, ok := strings.Cut(source, p.function)
		if !ok || !strings.Contains(tail, p.before) {
			return fmt.Errorf("%s: %s does not look as expected; has the Thrift version changed?", file, p.function)
		}
		source = head + p.function + strings.Replace(tail, p.before, p.after, 1)
	}
	return os.WriteFile(file, []byte(source), 0o644)
}
