// Package coop will carry the endpoint directory between leaves and oracles: leaves are citizens that report and ask for
// endpoints, spines are oracles that keep the whole directory and agree on it among each other. Messages travel over ZeroMQ.
//
// Nothing is built here yet.
//
// Owns: nothing yet; later the sessions between citizens and oracles, and an oracle's copy of the directory. Reads: nothing
// yet; later endpoint records of the local node. Writes: nothing yet; later what other nodes know, for the forwarding table.
package coop
