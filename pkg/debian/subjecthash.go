package debian

import (
	"bytes"
	"crypto/sha1"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// subjectHash is the hash of a certificate's subject that OpenSSL names files
// in a certificate directory by: the first four bytes, little-endian, of the
// SHA-1 of the name's canonical encoding, X509_NAME_hash(3).
func subjectHash(der []byte) (string, error) {
	var cert struct {
		TBS struct {
			Raw     asn1.RawContent
			Version int `asn1:"optional,explicit,default:0,tag:0"`
			Serial  asn1.RawValue
			Alg     asn1.RawValue
			Issuer  asn1.RawValue
			Valid   asn1.RawValue
			Subject asn1.RawValue
		}
		Alg, Sig asn1.RawValue
	}
	if _, err := asn1.Unmarshal(der, &cert); err != nil {
		return "", fmt.Errorf("not a certificate: %w", err)
	}
	var canonical []byte
	for rest := cert.TBS.Subject.Bytes; len(rest) > 0; {
		var rdn asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &rdn); err != nil {
			return "", fmt.Errorf("subject: %w", err)
		}
		set, err := canonicalRDN(rdn.Bytes)
		if err != nil {
			return "", fmt.Errorf("subject: %w", err)
		}
		canonical = append(canonical, set...)
	}
	sum := sha1.Sum(canonical)
	return fmt.Sprintf("%02x%02x%02x%02x", sum[3], sum[2], sum[1], sum[0]), nil
}

// canonicalRDN encodes one relative distinguished name, a SET of attributes,
// with every string as normalised UTF-8.
func canonicalRDN(attributes []byte) ([]byte, error) {
	var encoded [][]byte
	for len(attributes) > 0 {
		var a struct {
			Type  asn1.RawValue
			Value asn1.RawValue
		}
		var err error
		if attributes, err = asn1.Unmarshal(attributes, &a); err != nil {
			return nil, err
		}
		value := a.Value.FullBytes
		if text, ok, err := asText(a.Value); err != nil {
			return nil, err
		} else if ok {
			if value, err = asn1.Marshal(asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(normalise(text))}); err != nil {
				return nil, err
			}
		}
		seq, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: slices.Concat(a.Type.FullBytes, value)})
		if err != nil {
			return nil, err
		}
		encoded = append(encoded, seq)
	}
	slices.SortFunc(encoded, bytes.Compare) // DER: the elements of a SET OF in order
	return asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: slices.Concat(encoded...)})
}

const (
	tagVisibleString   = 26
	tagUniversalString = 28
)

// asText decodes the string types that OpenSSL makes canonical.
func asText(v asn1.RawValue) (string, bool, error) {
	if v.Class != asn1.ClassUniversal {
		return "", false, nil
	}
	switch v.Tag {
	case asn1.TagUTF8String:
		return string(v.Bytes), true, nil
	case asn1.TagPrintableString, asn1.TagIA5String, tagVisibleString, asn1.TagT61String: // taken for Latin-1
		runes := make([]rune, len(v.Bytes))
		for i, b := range v.Bytes {
			runes[i] = rune(b)
		}
		return string(runes), true, nil
	case asn1.TagBMPString:
		if len(v.Bytes)%2 != 0 {
			return "", false, errors.New("a BMPString of odd length")
		}
		units := make([]uint16, len(v.Bytes)/2)
		for i := range units {
			units[i] = uint16(v.Bytes[2*i])<<8 | uint16(v.Bytes[2*i+1])
		}
		return string(utf16.Decode(units)), true, nil
	case tagUniversalString:
		if len(v.Bytes)%4 != 0 {
			return "", false, errors.New("a UniversalString of odd length")
		}
		var runes []rune
		for b := v.Bytes; len(b) > 0; b = b[4:] {
			runes = append(runes, rune(b[0])<<24|rune(b[1])<<16|rune(b[2])<<8|rune(b[3]))
		}
		return string(runes), true, nil
	}
	return "", false, nil
}

// normalise trims white space, makes one space of every run of it, and lowers
// ASCII letters; nothing beyond ASCII changes.
func normalise(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' })
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, strings.Join(words, " "))
}
