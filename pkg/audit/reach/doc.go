// Package reach tells how near a Go program is to running vulnerable code: by
// golang.org/x/vuln, which looks at what the linker kept. A vulnerable function
// that is in the program is called, as far as the linker could tell; a package
// of which none is, is imported; a module of which not even the package is there,
// is required.
//
// What is read of a program is kept by itself, so that the program is not needed
// again when the database is another. The package must not know images.
package reach
