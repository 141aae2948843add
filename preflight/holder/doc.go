// Package holder finds out which processes hold a busy port, for the error messages of those who wanted it.
//
// Owns: nothing. Reads: /proc. Writes: nothing.
package holder
