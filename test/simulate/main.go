// Command simulate tells what more machines, and a registry as their cache, are
// worth: it counts through a build of four profiles, nine etcd lines and four
// architectures, on a few machines and on many. What it counts with stands in
// figures.go. It builds nothing, and prints the same every time.
//
//	go run ./test/simulate
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
