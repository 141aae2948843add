// Package testca makes certificates for laboratories and tests: an authority, and certificates that serve both ends of TLS.
//
// Owns: nothing. Reads: an authority's files. Writes: PEM files.
//
// Keys lie beside the certificates, unencrypted. It is no way to run a network that matters.
package testca
