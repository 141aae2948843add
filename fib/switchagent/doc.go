// Package switchagent is to be the fib.Programmer that programs routes through a switch agent's FibService (Open/R
// Platform.thrift) over Thrift.
//
// Owns: the connection to the agent. Reads: the agent's answers and start time. Writes: routes to the agent.
//
// The room is laid out and nothing is built in it yet.
package switchagent
