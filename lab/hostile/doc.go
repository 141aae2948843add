// Package hostile is a neighbour that speaks Spark and Rocket and misbehaves, to see what that costs an agent.
//
// It makes friends first: it answers hellos and handshakes, keeps an adjacency and offers a store, so that what it does
// comes from a neighbour that the agent has accepted. Then it does one thing wrong at a time, each a named Mode.
//
// Owns: a packet socket on one interface, a TCP port that plays a store, connections to the victim. Reads: the victim's
// discovery packets, which tell its name and addresses. Writes: packets and requests to the victim, never to anybody else.
//
// It uses the transports of package thrift, and none of the agent's modules: what it sends is what no module would.
package hostile
