package reach

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// A stripped program (-ldflags=-s) still has the table of its functions, which
// tracebacks need. x/vuln reads that table too, but for inlined functions it
// wants to know where the linker put what the table refers to, and for that it
// asks the symbol table, which is gone; it then takes every vulnerable function
// for called. The runtime of the program knows the place itself, out of its
// module data (runtime/symtab.go, moduledata.gofunc). So the one symbol that
// x/vuln asks for is put back, into a copy.
//
// The field's offset differs between releases of Go. It is not assumed: of the
// words in the module data the one is taken with which the inlined calls of the
// program's functions have names. Where no word passes, the program stays as it
// is.

// funcSymbol is the symbol's name since Go 1.20.
const funcSymbol = "go:func.*"

// pcMagic begins the function table since Go 1.20 (debug/gosym, go120magic).
const pcMagic = 0xfffffff1

// errNoModuleData says that the place was not found.
var errNoModuleData = errors.New("its module data was not found")

// isStripped says whether a file is an ELF program without symbols.
func isStripped(f *elf.File) bool {
	_, err := f.Symbols()
	return errors.Is(err, elf.ErrNoSymbols)
}

// restored copies the program to dst with the symbol that x/vuln needs.
func restored(src *os.File, f *elf.File, dst *os.File) error {
	if f.Class != elf.ELFCLASS64 {
		return fmt.Errorf("%w: it is not of 64 bits", errNoModuleData)
	}
	address, err := findFuncData(f)
	if err != nil {
		return err
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(dst, src)
	if err != nil {
		return err
	}
	return addSymbol(dst, n, f, address)
}

// findFuncData is the address of what the function table refers to.
func findFuncData(f *elf.File) (uint64, error) {
	section := f.Section(".gopclntab")
	if section == nil {
		section = f.Section(".data.rel.ro.gopclntab")
	}
	if section == nil {
		return 0, fmt.Errorf("%w: it has no .gopclntab", errNoModuleData)
	}
	raw, err := section.Data()
	if err != nil {
		return 0, err
	}
	t, err := readTable(raw, f.ByteOrder)
	if err != nil {
		return 0, err
	}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_PROGBITS || s.Flags&elf.SHF_ALLOC == 0 || s.Flags&elf.SHF_EXECINSTR != 0 || s == section {
			continue
		}
		b, err := s.Data()
		if err != nil {
			continue
		}
		if address, ok := t.inData(f, b, section.Addr); ok {
			return address, nil
		}
	}
	return 0, errNoModuleData
}

// moduleWords is in how many words from its beginning the module data has the
// address; it was the 40th in Go 1.20, and has moved by a few since.
const moduleWords = 64

// inData looks for module data, which begins with the function table's address.
func (t *table) inData(f *elf.File, b []byte, tableAt uint64) (uint64, bool) {
	const word = 8
	pattern := make([]byte, word)
	f.ByteOrder.PutUint64(pattern, tableAt)
	for from := 0; ; {
		i := bytes.Index(b[from:], pattern)
		if i < 0 {
			return 0, false
		}
		at := from + i
		from = at + 1
		if at%word != 0 {
			continue
		}
		seen := map[uint64]bool{}
		for w := 1; w < moduleWords && at+(w+1)*word <= len(b); w++ {
			candidate := f.ByteOrder.Uint64(b[at+w*word:])
			if seen[candidate] {
				continue
			}
			seen[candidate] = true
			if r, ok := from64(f, candidate); ok && t.fits(r) {
				return candidate, true
			}
		}
	}
}

// from64 reads memory from an address on, to the end of its segment.
func from64(f *elf.File, address uint64) (io.ReaderAt, bool) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X == 0 && address >= p.Vaddr && address < p.Vaddr+p.Filesz {
			return io.NewSectionReader(p, int64(address-p.Vaddr), int64(p.Filesz-(address-p.Vaddr))), true
		}
	}
	return nil, false
}

// table is the function table (runtime/symtab.go, pcHeader): the names, and
// where the first inlined call of each function is that has any.
type table struct {
	order   binary.ByteOrder
	names   []byte
	inlined []uint32
}

// inlineTree is the index of what is wanted among a function's data
// (internal/abi, FUNCDATA_InlTree).
const inlineTree = 3

// samples is how many functions are looked at.
const samples = 500

func readTable(b []byte, order binary.ByteOrder) (*table, error) {
	bad := fmt.Errorf("%w: its function table is of a form before Go 1.20, or broken", errNoModuleData)
	const word = 8
	if len(b) < 8+8*word || order.Uint32(b) != pcMagic || b[7] != word {
		return nil, bad
	}
	header := func(i int) uint64 { return order.Uint64(b[8+i*word:]) }
	count, nameAt, cuAt, funcAt := header(0), header(3), header(4), header(7)
	size := uint64(len(b))
	if nameAt > cuAt || cuAt > size || funcAt > size || count > size/8 {
		return nil, bad
	}
	t := &table{order: order, names: b[nameAt:cuAt]}
	functions := b[funcAt:]
	step := max(1, count/samples/4)
	for i := uint64(0); i < count && len(t.inlined) < samples; i += step {
		if int(i*8+8) > len(functions) {
			return nil, bad
		}
		at := uint64(order.Uint32(functions[i*8+4:]))
		if offset, ok := t.inlinedAt(functions, at); ok {
			t.inlined = append(t.inlined, offset)
		}
	}
	const enough = 8
	if len(t.inlined) < enough {
		return nil, fmt.Errorf("%w: too few functions have inlined calls", errNoModuleData)
	}
	return t, nil
}

// inlinedAt reads one function's entry (runtime/runtime2.go, _func).
func (t *table) inlinedAt(functions []byte, at uint64) (uint32, bool) {
	const fixed, pcDataCount, dataCount = 44, 28, 43
	if at+fixed > uint64(len(functions)) {
		return 0, false
	}
	f := functions[at:]
	n := int(f[dataCount])
	offset := fixed + int(t.order.Uint32(f[pcDataCount:]))*4 + inlineTree*4
	if n <= inlineTree || offset < 0 || offset+4 > len(f) {
		return 0, false
	}
	v := t.order.Uint32(f[offset:])
	return v, v != ^uint32(0)
}

// fits says whether what lies there are inlined calls (runtime/symtabinl.go,
// inlinedCall): nearly all have the name of a function.
func (t *table) fits(r io.ReaderAt) bool {
	good := 0
	for _, offset := range t.inlined {
		var entry [16]byte
		if _, err := r.ReadAt(entry[:], int64(offset)); err != nil {
			continue
		}
		if t.isName(t.order.Uint32(entry[4:])) {
			good++
		}
	}
	const of100 = 99
	return good*100 >= len(t.inlined)*of100
}

func (t *table) isName(offset uint32) bool {
	i := int(offset)
	if i <= 0 || i >= len(t.names) || t.names[i-1] != 0 || t.names[i] <= ' ' {
		return false
	}
	end := bytes.IndexByte(t.names[i:], 0)
	return end > 0 && bytes.IndexByte(t.names[i:i+end], '.') >= 0
}

// addSymbol appends a symbol table with one symbol, and a table of sections that
// names it too (System V gABI, chapter 4).
func addSymbol(file *os.File, size int64, f *elf.File, address uint64) error {
	const sectionSize, symbolSize, align = 64, 24, 8
	order := f.ByteOrder
	var head [64]byte
	if _, err := file.ReadAt(head[:], 0); err != nil {
		return err
	}
	const offsetAt, countAt = 0x28, 0x3c
	count := int(order.Uint16(head[countAt:]))
	old := make([]byte, count*sectionSize)
	if _, err := file.ReadAt(old, int64(order.Uint64(head[offsetAt:]))); err != nil {
		return fmt.Errorf("its section headers: %w", err)
	}
	var out bytes.Buffer
	pad := func() int64 {
		for (size+int64(out.Len()))%align != 0 {
			out.WriteByte(0)
		}
		return size + int64(out.Len())
	}
	stringsAt := pad()
	names := "\x00" + funcSymbol + "\x00"
	out.WriteString(names)
	symbolsAt := pad()
	symbols := make([]byte, 2*symbolSize)
	order.PutUint32(symbols[symbolSize:], 1)
	symbols[symbolSize+4] = byte(elf.STT_OBJECT)
	order.PutUint16(symbols[symbolSize+6:], uint16(elf.SHN_ABS))
	order.PutUint64(symbols[symbolSize+8:], address)
	out.Write(symbols)
	headersAt := pad()
	out.Write(old)
	section := func(kind elf.SectionType, offset int64, length, link, info, entry int) {
		s := make([]byte, sectionSize)
		order.PutUint32(s[4:], uint32(kind))
		order.PutUint64(s[24:], uint64(offset))
		order.PutUint64(s[32:], uint64(length))
		order.PutUint32(s[40:], uint32(link))
		order.PutUint32(s[44:], uint32(info))
		order.PutUint64(s[48:], 1)
		order.PutUint64(s[56:], uint64(entry))
		out.Write(s)
	}
	section(elf.SHT_STRTAB, stringsAt, len(names), 0, 0, 0)
	section(elf.SHT_SYMTAB, symbolsAt, len(symbols), count, 1, symbolSize)
	order.PutUint64(head[offsetAt:], uint64(headersAt))
	order.PutUint16(head[countAt:], uint16(count+2))
	if _, err := file.WriteAt(out.Bytes(), size); err != nil {
		return err
	}
	_, err := file.WriteAt(head[:], 0)
	return err
}
