// Package fib brings the routes that decision wants into a forwarding table and keeps them there.
//
// Owns: the wanted table, what is known of the table that stands, the retries and the delayed deletes. Reads: route
// updates from decision; the table through a Programmer. Writes: the table through the Programmer; to prefixmanager
// and to subscribers, which routes are really programmed (FIB-ACK); the stage FIB_SYNCED.
//
// The decisions are made in table.go by a plain data structure that knows neither clock nor goroutine; fib.go is the
// goroutine around it:
//
//	decision ──routes──▶ Run: table.update ──▶ table.next ──▶ Programmer.Apply ──▶ table.done ──programmed──▶ prefixmanager, subscribers
//	                             ▲                                                     │
//	Programmer.Invalidated ──▶ table.reconcile ◀── Programmer.Dump          failed: again, 8 ms .. 4096 ms later
//
// Until the first complete table comes from decision nothing is touched, so the routes of the agent's last run keep
// forwarding. Then the table is read once and only the differences are applied, what is new before what is stale goes.
// When the agent stops, its routes stay.
package fib
