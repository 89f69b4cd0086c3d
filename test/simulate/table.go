package main

import (
	"fmt"
	"io"
	"strings"
)

// machines are the numbers of machines that are compared.
func machines() []int { return []int{1, 4, 16, 64} }

// write writes the tables of docs/ci/scaling.md.
func write(w io.Writer) error {
	var b strings.Builder
	n := len(kinds()) * len(lines()) * len(archs())
	fmt.Fprintf(&b, "%d images, %d indexes:\n", n, n/len(archs()))
	for _, m := range modes() {
		fmt.Fprintf(&b, "\n**%s**\n\n", strings.ToUpper(m.name[:1])+m.name[1:])
		b.WriteString("| machines | time | times faster | busy | compiled | fetched, GB | from the registry, GB | to the registry, GB | longest job |\n|---|---|---|---|---|---|---|---|---|\n")
		one := simulate(m, 1)
		for _, count := range machines() {
			o := simulate(m, count)
			faster := one.seconds / o.seconds
			fmt.Fprintf(&b, "| %d | %s | %.1f | %.0f %% | %d | %.1f | %.1f | %.1f | %s |\n", count, clock(o.seconds), faster, 100*faster/float64(count), o.compiled,
				o.fetched/1000, o.received/1000, o.sent/1000, clock(o.longest))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// clock is a duration as 1:02:03 or 2:03.
func clock(seconds float64) string {
	s := int(seconds + 0.5)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
