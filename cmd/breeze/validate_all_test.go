package main

import "testing"

// TestOpenrValidate: one module after another, whatever they find.
func TestOpenrValidate(t *testing.T) {
	n, _ := sound(t)
	golden(t, "validate", serve(t, n), "openr validate --suppress-error", "openr validate --json")
}
