// Package invoke runs one Thrift call on bare argument bytes, whatever transport brought it, and makes the bytes of a call for
// any transport to carry.
//
// Owns: nothing. Reads and writes: byte slices.
//
// Every dialect on the control port (Rocket, THeader, framed, unframed) is some framing around the same thing: a method's
// name and a struct of arguments in, a struct of results or an exception out. The framing belongs to the packages beside
// this one; what is the same for all is here. It carries the generated processors and structs of apache/thrift.
package invoke
