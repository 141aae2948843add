// Package compress packs and unpacks message bodies with the algorithms that fbthrift's transports name.
//
// Owns: nothing. Reads and writes: byte slices.
//
// Unpacking allocates for what the packed bytes can really hold, not for what they claim, and never much beyond the
// caller's limit.
package compress
