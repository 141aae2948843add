// Package systemd tests the units and packages with the real thing: a Debian with systemd as its first process, in a
// namespace of a lab between two agents, and a stream of packets through it while it is restarted, killed, upgraded, hung
// and rebooted. It holds tests only; they need root, systemd-nspawn and debootstrap. TestQuick and TestUnit do
// without the latter: their machine has the file system of the one that they run on, under a layer of its own. TestPowerLoss
// needs mkfs.ext4 and a loop device.
//
// Owns: the labs called test<process>-..., the control groups of the same names. Reads: the kernels' routes, the units'
// states. Writes: a Debian system in a temporary folder, and ~/.cache/openr/debian-*.tar, from which it is unpacked.
package systemd
