// Package lab builds networks of Linux network namespaces on one machine, runs an agent in every node, and judges what the
// agents did by the kernels' routing tables alone.
//
// The demo, the tests of whole agents and `openr lab` use it. The answer that it expects (Expected) comes from reading links
// and addresses out of the namespaces and counting hops; it shares no code with the agent.
//
// A fabric (Fabric) is a lab of spines and leaves with hosts behind the leaves, on one Ethernet segment over VXLAN.
//
// Owns: the namespaces <lab>-n0, <lab>-n1, ... of nodes and <lab>-h0, ... of hosts, and the folder /run/openr-lab/<lab> (state,
// configurations, logs).
// Reads: links, addresses and routes of those namespaces; /proc, to tell which processes run in them.
// Writes: links, addresses and sysctls inside those namespaces, never outside; one JSON configuration per node; frames of hosts
// that move or are in a loop.
package lab
