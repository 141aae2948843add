// Package fakeswitch is a switch agent in the manner of FBOSS's, for tests and laboratories: it carries packets between
// ports and TUN interfaces, takes routes by FibService, and fails on command.
//
// Owns: a TUN interface fboss<vlan> for each VLAN; raw sockets on the ports; the FibService's port; a Unix socket for
// control; the routes of its clients in a routing table. Reads: what comes in on all of them; changes of links. Writes: packets, routes,
// the state of the TUN interfaces.
//
//	other node ══ veth ══ port ── raw socket ── agent ── /dev/net/tun ── fboss<vlan> ══ this kernel, with the routing agent on it
//
// As in a switch, the port itself stays out of this kernel's IP: the agent has a MAC address of its own on it, answers ARP
// and neighbour solicitations for the addresses of the TUN interface, and puts an Ethernet header on what the kernel
// sends. At the other end of a port there is one neighbour; all unicast goes there. A TUN interface is up, with carrier,
// while its port is. Where a switch has its own hardware table, the routes here go into the kernel's, whose forwarding
// then takes packets from one TUN interface to another.
//
// Control is HTTP over a Unix socket; nothing but this says what can be told to go wrong:
//
//	curl --unix-socket /run/fakeswitch.sock http://agent/                            what is going on, as JSON
//	curl ... -X POST 'http://agent/restart?down=2s'                                  routes and interfaces gone, another aliveSince; warm=true keeps the routes
//	curl ... -X POST 'http://agent/fail?prefix=fd00::/16&prefix=10.0.0.0/8'          routes in there fail (PlatformFibUpdateError); none: no longer
//	curl ... -X POST 'http://agent/hang?on=true'                                     no call is answered
//	curl ... -X POST 'http://agent/refuse?on=true'                                   calls about routes fail (PlatformError)
//	curl ... -X POST 'http://agent/forget'                                           routes gone, without a word
//	curl ... -X POST 'http://agent/run-state?is=INITIALIZED'                         getSwitchRunState; routes are refused unless CONFIGURED
//
// It shares no code with the programs that it tests, beyond the Thrift transport.
package fakeswitch
