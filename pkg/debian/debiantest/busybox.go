package debiantest

import (
	"bytes"
	"encoding/binary"
	"path"
	"slices"
	"strings"
)

// BusyboxApplets are the applets of the Busybox that AddBusybox publishes, in
// the order and the form of busybox --list-full.
func BusyboxApplets() []string {
	return strings.Fields(`usr/bin/[ usr/bin/[[ bin/ash bin/cat usr/sbin/chroot bin/cp bin/date usr/bin/env bin/false bin/grep
		sbin/ifconfig sbin/init bin/kill linuxrc bin/ls bin/mkdir bin/mount usr/bin/nc bin/ps bin/pwd bin/rm bin/sh bin/sleep
		usr/bin/test usr/bin/top bin/true bin/uname usr/bin/wc usr/bin/wget bin/zcat`)
}

// Busybox is a look-alike of a busybox program of one byte order: the tables
// of its applets, given as busybox --list-full prints them, between bytes that
// are no table. It does not run.
func Busybox(order binary.AppendByteOrder, applets []string) []byte {
	dirs := []string{".", "bin", "sbin", "usr/bin", "usr/sbin"}
	var names, places, offsets []byte
	for i, a := range applets {
		for next := 1; next < 8; next++ {
			if i == next*len(applets)/8 {
				offsets = order.AppendUint16(offsets, uint16(len(names)))
			}
		}
		names = append(append(names, path.Base(a)...), 0)
		place := byte(slices.Index(dirs, path.Dir(a)))
		if i%2 == 0 {
			places = append(places, place)
		} else {
			places[i/2] |= place << 4
		}
	}
	var b bytes.Buffer
	b.WriteString("\x7fELF it does not run\x00a\x00b\x00c\x00")
	b.Write(offsets)
	b.WriteString("some strings\x00and others\x00\xff\xff")
	b.Write(places)
	b.WriteString("\xc0\xae ~Z") // a byte of another table that could begin a name
	b.Write(names)
	b.WriteString("\x00/bin/sh\x00\xff")
	return b.Bytes()
}

// AddBusybox adds the package busybox-static to the suite "debian trixie", for
// every architecture.
func (m *Mirror) AddBusybox() {
	for _, arch := range []string{"amd64", "arm64", "ppc64el", "s390x"} {
		var order binary.AppendByteOrder = binary.LittleEndian
		if arch == "s390x" {
			order = binary.BigEndian
		}
		m.Suite("debian", "trixie").Add(Deb{Name: "busybox-static", Version: "1:1.37.0-6", Arch: arch, Files: []File{
			{Name: "/usr/"}, {Name: "/usr/bin/"}, {Name: "/usr/bin/busybox", Mode: 0o755, Body: string(Busybox(order, BusyboxApplets()))},
			{Name: "/usr/share/"}, {Name: "/usr/share/doc/"}, {Name: "/usr/share/doc/busybox-static/"},
			{Name: "/usr/share/doc/busybox-static/copyright", Body: "License: GPL-2\n"},
		}})
	}
}
