// Package config is the agent's configuration: Open/R's JSON file read, defaulted and checked once, into types made for use.
//
// A file passes four steps: parseJSON makes a tree with places; decoder.object puts it into Open/R's generated types and
// checks type and range; decoder.load copies from there into Config, by the tags of Config; decoder.config checks what
// spans several values. Config.JSON goes the way back.
//
// Owns: nothing; a Config is immutable once loaded. Reads: the configuration file, the host name, whether certificates that
// the file names exist. Writes: nothing.
package config
