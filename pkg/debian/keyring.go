package debian

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

//go:embed keys/*.pgp
var builtinKeys embed.FS

// keyring is a set of keys that may sign an archive. The built-in ones are
// parsed when they are first needed, which a warm resolve never does.
type keyring struct {
	extra  openpgp.EntityList
	digest string // of the files it was read from, in any order
}

// readKeyring returns the built-in keys and those of further keyring files,
// armored or binary.
func readKeyring(extra [][]byte) (*keyring, error) {
	k := &keyring{}
	var sums []string
	for _, f := range builtinFiles() {
		sums = append(sums, hexSum(f.data))
	}
	for i, data := range extra {
		keys, err := readKeys(data)
		if err != nil {
			return nil, fmt.Errorf("keyring %d of the profile: %w: want OpenPGP public keys, armored or binary", i+1, err)
		}
		k.extra = append(k.extra, keys...)
		sums = append(sums, hexSum(data))
	}
	slices.Sort(sums)
	k.digest = hexSum([]byte(strings.Join(slices.Compact(sums), "\n")))
	return k, nil
}

type keyFile struct {
	name string
	data []byte
}

// builtinFiles panics where the program was put together wrongly: the files
// are part of it.
func builtinFiles() []keyFile {
	entries, err := builtinKeys.ReadDir("keys")
	if err != nil {
		panic("debian: built-in keys: " + err.Error())
	}
	var files []keyFile
	for _, e := range entries {
		data, err := builtinKeys.ReadFile("keys/" + e.Name())
		if err != nil {
			panic("debian: built-in keys: " + err.Error())
		}
		files = append(files, keyFile{e.Name(), data})
	}
	return files
}

func builtinEntities() map[string]openpgp.EntityList {
	out := map[string]openpgp.EntityList{}
	for _, f := range builtinFiles() {
		keys, err := readKeys(f.data)
		if err != nil {
			panic("debian: built-in key " + f.name + ": " + err.Error())
		}
		out[f.name] = keys
	}
	return out
}

// keys are all keys, the built-in ones first.
func (k *keyring) keys() openpgp.EntityList {
	var all openpgp.EntityList
	builtin := builtinEntities()
	for _, name := range sortedKeys(builtin) {
		all = append(all, builtin[name]...)
	}
	return append(all, k.extra...)
}

// BuiltinFingerprints are the fingerprints of the keys that are trusted without
// a keyring in the profile, in upper-case hex, by file name.
func BuiltinFingerprints() map[string]string {
	out := map[string]string{}
	for name, keys := range builtinEntities() {
		out[name] = fingerprint(keys[0])
	}
	return out
}

// CheckKeyring says what is wrong with a keyring file, nil if nothing is.
func CheckKeyring(data []byte) error {
	_, err := readKeys(data)
	return err
}

func readKeys(data []byte) (openpgp.EntityList, error) {
	read := openpgp.ReadKeyRing
	if isArmored(data) {
		read = openpgp.ReadArmoredKeyRing
	}
	keys, err := read(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("no key in it")
	}
	for _, key := range keys {
		if key.PrivateKey != nil {
			return nil, errors.New("it holds a private key")
		}
	}
	return keys, nil
}

func isArmored(key []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(key, " \t\r\n"), []byte("-----BEGIN "))
}

func fingerprint(e *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))
}

// signatureSkew is how far the clock of this machine may be behind the one
// that signed.
const signatureSkew = time.Hour

// signers returns the fingerprints of the keyring's keys that have made a good
// signature over data, sorted. signatures is a series of OpenPGP signature
// packets; some may be by keys that nobody here knows.
func (k *keyring) signers(data, signatures []byte, now time.Time) ([]string, error) {
	config := &packet.Config{Time: func() time.Time { return now.Add(signatureSkew) }}
	trusted := k.keys()
	var good, unknown []string
	var failures []error
	packets := packet.NewOpaqueReader(bytes.NewReader(signatures))
	for n := 0; ; n++ {
		p, err := packets.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the signature is damaged: %w", err)
		}
		if n >= 64 {
			return nil, errors.New("more than 64 signatures")
		}
		var one bytes.Buffer
		if err := p.Serialize(&one); err != nil {
			return nil, fmt.Errorf("the signature is damaged: %w", err)
		}
		if parsed, err := p.Parse(); err == nil {
			if sig, ok := parsed.(*packet.Signature); ok && sig.IssuerKeyId != nil && len(trusted.KeysById(*sig.IssuerKeyId)) == 0 {
				unknown = append(unknown, fmt.Sprintf("%016X", *sig.IssuerKeyId))
				continue
			}
		}
		_, signer, err := openpgp.VerifyDetachedSignature(trusted, bytes.NewReader(data), &one, config)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		good = append(good, fingerprint(signer))
	}
	if len(good) == 0 {
		switch {
		case len(failures) > 0:
			return nil, fmt.Errorf("the signature is wrong: %w", errors.Join(failures...))
		case len(unknown) > 0:
			return nil, fmt.Errorf("signed by a key that is not trusted (%s): add the archive's key to contents.keyring", strings.Join(unknown, ", "))
		default:
			return nil, errors.New("it is not signed")
		}
	}
	slices.Sort(good)
	return slices.Compact(good), nil
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
