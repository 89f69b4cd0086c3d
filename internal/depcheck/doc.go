// Package depcheck holds the tests that keep the rooms of this module apart:
// which package may import which, who may run programs, open connections or
// write to the terminal, and that no package has a variable that changes.
//
// It has no code beside its tests, and must know no package but by name.
package depcheck
