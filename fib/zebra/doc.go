// Package zebra is to be the fib.Programmer that programs routes through FRR's zebra over its API (ZAPI).
//
// Owns: the connection to zebra. Reads: zebra's answers and redistribution messages. Writes: routes to zebra.
//
// The room is laid out and nothing is built in it yet.
package zebra
