package etcd

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// The edits that lines need. Each changes as little as it can; the digests are
// those of the whole file before and after. The checksum of a module that is
// edited is in lines/edited.sum, from where it goes into the wrapper's go.sum.

const alphabet = "the base64 alphabet in it has one character twice, which Go refuses since 1.22"

// codec is for 3.0 to 3.2, whose generated code wants this very version.
func codec() lock.Edit {
	const path = "github.com/ugorji/go"
	return lock.Edit{
		Module: path, Version: "v0.0.0-20170107133203-ded73eae5db7", Reason: alphabet,
		Files: []lock.FileEdit{
			{
				Path:    "codec/gen.go",
				Before:  "23441792287087d44b996dd067f5867e7a781f46c996a871a78755b21bd8d755",
				After:   "248575f772ca38efe284c8001d0639c0879055ec09b852e23fcb64c5fa320ab8",
				Changes: []lock.Change{{Old: "9__", Occurrence: 1, New: "9_-"}},
			},
			newFile("go.mod", "module "+path+"\n"),
		},
	}
}

// codecIn23 is for 2.3, which has its own copy of the same package.
func codecIn23() lock.Edit {
	return lock.Edit{
		Module: coreos, Version: "v2.3.8+incompatible", Reason: alphabet,
		Files: []lock.FileEdit{
			{
				Path:    "Godeps/_workspace/src/github.com/ugorji/go/codec/gen.go",
				Before:  "49a6b12eadbc51c3b3e9baa7c446fa16e3abd7116bb7be71d5186282f7af4187",
				After:   "be4db014c142c4c4197ccf5fa6fa0c8cfb68803eb5d78067bbf2d3b3096f06a5",
				Changes: []lock.Change{{Old: "9__", Occurrence: 1, New: "9_-"}},
			},
			newFile("go.mod", "module "+coreos+"\n"),
		},
	}
}

// systemd is for 3.0, which calls SdNotify as it was before 2016.
func systemd() lock.Edit {
	const path = "github.com/coreos/go-systemd"
	return lock.Edit{
		Module: path, Version: "v0.0.0-20190321100706-95778dfbb74e", Reason: "etcd 3.0 calls SdNotify without the argument that it has by now",
		Files: []lock.FileEdit{
			{
				Path:   "daemon/sdnotify.go",
				Before: "0d3943aad009deeb213427487fb5a1fc695688c1efc9ce0e372b5fb67ce431aa",
				After:  "b7baef2e2be0543510f68cd0ab2dd14888793451adeba5e19809bf3c953f8ef7",
				Changes: []lock.Change{
					{Old: "unsetEnvironment bool, ", Occurrence: 1, New: ""},
					{Old: "if unsetEnvironment", Occurrence: 1, New: "if false"},
				},
			},
			newFile("go.mod", "module "+path+"\n"),
		},
	}
}

// bolt is for 3.0, which imports the database under its first name.
func bolt() lock.Edit {
	return lock.Edit{
		Module: "github.com/boltdb/bolt", Version: "v1.3.1", Own: true,
		Reason: "go.etcd.io/bbolt, which is maintained, under the name that etcd 3.0 imports",
		Files: []lock.FileEdit{
			newFile("bolt.go", file("bolt.go.txt")),
			newFile("go.mod", "module github.com/boltdb/bolt\n\ngo 1.23\n\nrequire go.etcd.io/bbolt v1.3.12\n"),
		},
	}
}

// newFile is a file that the module has not.
func newFile(path, content string) lock.FileEdit {
	return lock.FileEdit{Path: path, After: hexSHA256([]byte(content)), Changes: []lock.Change{{New: content}}}
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
