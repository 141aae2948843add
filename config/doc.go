// Package config is the agent's configuration: Open/R's JSON file read, defaulted and checked once, into types made for use.
//
// Owns: nothing; a Config is immutable once loaded. Reads: the configuration file. Writes: nothing.
package config
