// Package theader reads and writes what travels on Thrift connections that do not speak Rocket: message envelopes, length
// prefixes, and THeader frames with their transforms and info headers.
//
// Owns: nothing. Reads and writes: byte slices.
//
// A message is a name, a type, a sequence id and a struct. It travels bare (unframed), behind a length (framed), or behind
// a length and a header (THeader) that says how the message is encoded and transformed and carries pairs of strings. These
// are plain functions; the sockets are package rpc's.
package theader
