package debian

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// applet is one of the programs inside a busybox.
type applet struct {
	Name string `json:"name"`
	Dir  string `json:"dir"` // where busybox --install puts it: /, /bin, /sbin, /usr/bin or /usr/sbin
}

// errNoApplets is what applets says of bytes that are no busybox that it knows.
var errNoApplets = errors.New("it holds no table of applets in the form that busybox 1.37 has")

// Three of the tables that busybox is compiled with, by scripts of its own (its
// applets/applet_tables.c), say what busybox --list-full prints:
//
//   - the names, each ended by a NUL, in ascending order, for a binary search;
//   - the offsets of seven names, an eighth of the table apart, as 16-bit
//     numbers in the machine's byte order, to begin that search with;
//   - where each is to be installed: two to a byte, the earlier one in the lower
//     half, as an index into appletDirs.
//
// A stripped program has no names for the tables. They are found by what must
// hold of them, which for tables of hundreds of names nothing else does: where
// two places would do, or none, there is an error and no guess.
var appletDirs = []string{"/", "/bin", "/sbin", "/usr/bin", "/usr/sbin"}

// leastApplets is more than what else in a program looks like a sorted list.
const leastApplets = 24

// longestName bounds an applet's name.
const longestName = 32

// knownOffsets is into how many parts the offsets divide the names.
const knownOffsets = 8

// wellKnown are applets whose place has never been another one.
var wellKnown = map[string]string{
	"[": "/usr/bin", "cat": "/bin", "chroot": "/usr/sbin", "cp": "/bin", "env": "/usr/bin", "ifconfig": "/sbin", "init": "/sbin",
	"ls": "/bin", "mount": "/bin", "sh": "/bin", "test": "/usr/bin", "wc": "/usr/bin",
}

// applets reads the applets out of a busybox program of any architecture,
// without running it.
func applets(program []byte) ([]applet, error) {
	names, err := appletNames(program)
	if err != nil {
		return nil, err
	}
	dirs, err := appletPlaces(program, names)
	if err != nil {
		return nil, err
	}
	out := make([]applet, len(names))
	for i, name := range names {
		out[i] = applet{Name: name, Dir: dirs[i]}
	}
	return out, nil
}

// appletNames finds the one sorted list of names whose offsets are in the
// program, too. What precedes the list may look like the beginning of its first
// name, so that one is tried from each of its bytes.
func appletNames(program []byte) ([]string, error) {
	var found []string
	for _, list := range sortedLists(program) {
		list[0] = list[0][max(0, len(list[0])-longestName):]
		for len(list[0]) > 0 {
			if hasOffsets(program, list) {
				if found != nil {
					return nil, errors.New("it holds two tables of applets, or more")
				}
				found = append(found, list...)
				break
			}
			list[0] = list[0][1:]
		}
	}
	if found == nil {
		return nil, errNoApplets
	}
	return found, nil
}

// sortedLists are the runs of NUL-terminated names in ascending order that hold
// a shell and are long enough.
func sortedLists(program []byte) [][]string {
	var lists [][]string
	var list []string
	end := func() {
		if _, hasShell := slices.BinarySearch(list, "sh"); hasShell && len(list) >= leastApplets {
			lists = append(lists, list)
		}
		list = nil
	}
	start := 0
	for i, b := range program {
		switch {
		case b == 0:
			name := string(program[start:i])
			if len(list) > 0 && name <= list[len(list)-1] {
				end()
			}
			if name != "" {
				list = append(list, name)
			}
			start = i + 1
		case !isNameByte(b):
			end()
			start = i + 1
		}
	}
	end()
	return lists
}

// isNameByte says whether an applet's name may have that byte.
func isNameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || strings.IndexByte("[_-.+", b) >= 0
}

// hasOffsets says whether the program holds the offsets of a list of names.
func hasOffsets(program []byte, names []string) bool {
	var little, big []byte
	offset := 0
	next := 1
	for i, name := range names {
		if i == next*len(names)/knownOffsets {
			little = binary.LittleEndian.AppendUint16(little, uint16(offset))
			big = binary.BigEndian.AppendUint16(big, uint16(offset))
			next++
		}
		offset += len(name) + 1
	}
	return offset <= math.MaxUint16 && (bytes.Contains(program, little) || bytes.Contains(program, big))
}

// appletPlaces finds the one table of as many places as there are names that
// has the well-known ones right.
func appletPlaces(program []byte, names []string) ([]string, error) {
	type check struct {
		at, shift int
		want      byte
	}
	var checks []check
	for i, name := range names {
		for index, dir := range appletDirs {
			if wellKnown[name] == dir {
				checks = append(checks, check{i / 2, i % 2 * 4, byte(index)})
			}
		}
	}
	size := (len(names) + 1) / 2
	found := -1
search:
	for at := 0; at+size <= len(program); at++ {
		for _, c := range checks {
			if program[at+c.at]>>c.shift&0xf != c.want {
				continue search
			}
		}
		for _, b := range program[at : at+size] {
			if int(b&0xf) >= len(appletDirs) || int(b>>4) >= len(appletDirs) {
				continue search
			}
		}
		if found >= 0 {
			return nil, fmt.Errorf("two tables in it could say where its %d applets belong", len(names))
		}
		found = at
	}
	if found < 0 {
		return nil, fmt.Errorf("no table in it says where its %d applets belong", len(names))
	}
	out := make([]string, len(names))
	for i := range names {
		out[i] = appletDirs[program[found+i/2]>>(i%2*4)&0xf]
	}
	return out, nil
}
