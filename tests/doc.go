// Package tests runs whole agents, built from this source, in networks of namespaces, does to the networks what happens to
// networks, and compares the kernels' routes with what package lab expects. It holds tests only; they need root.
//
// Owns: labs called test<process>-<test>, removed at the end of each test. Reads: the kernels' routes, the agents' logs.
// Writes: links, addresses and foreign routes in those labs.
package tests
