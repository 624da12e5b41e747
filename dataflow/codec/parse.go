package codec

import (
	"fmt"
	"strconv"
	"strings"
)

// nestingMax bounds the depth of a schema text.
const nestingMax = 64

// ParseSchema reads a schema text. The types it returns have no Go type, no
// size and no offsets.
func ParseSchema(text string) (*Type, error) {
	p := schemaParser{rest: text}
	t, err := p.parse(0)
	if err == nil && p.rest != "" {
		err = p.unexpected("the end")
	}
	if err != nil {
		return nil, fmt.Errorf("codec: schema %q: %w", text, err)
	}
	return t, nil
}

type schemaParser struct{ rest string }

func (p *schemaParser) unexpected(wanted string) error {
	return fmt.Errorf("%q where %s is expected", p.rest, wanted)
}

func (p *schemaParser) take(token string) bool {
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *schemaParser) parse(depth int) (*Type, error) {
	if depth > nestingMax {
		return nil, fmt.Errorf("types are nested deeper than %d", nestingMax)
	}
	var err error
	t := &Type{}
	switch {
	case p.take("{"):
		t.Kind = KindStruct
		return t, p.fields(t, depth)
	case p.take("?"):
		t.Kind = KindPointer
	case p.take("[]"):
		t.Kind = KindSlice
	case p.take("["):
		t.Kind = KindArray
		digits, rest, ok := strings.Cut(p.rest, "]")
		if t.Len, err = strconv.Atoi(digits); !ok || err != nil || t.Len < 0 {
			return nil, p.unexpected("the length of an array")
		}
		p.rest = rest
	case p.take("map["):
		t.Kind = KindMap
		if t.Key, err = p.parse(depth + 1); err != nil {
			return nil, err
		}
		if !p.take("]") {
			return nil, p.unexpected("]")
		}
	default:
		return t, p.scalar(t)
	}
	t.Elem, err = p.parse(depth + 1)
	return t, err
}

func (p *schemaParser) fields(t *Type, depth int) error {
	if p.take("}") {
		return nil
	}
	for {
		name, err := p.name()
		if err != nil {
			return err
		}
		if !p.take(":") {
			return p.unexpected("a colon")
		}
		ft, err := p.parse(depth + 1)
		if err != nil {
			return err
		}
		t.Fields = append(t.Fields, Field{Name: name, Type: ft})
		if p.take("}") {
			return nil
		}
		if !p.take(",") {
			return p.unexpected("a comma or }")
		}
	}
}

func (p *schemaParser) name() (string, error) {
	if strings.HasPrefix(p.rest, `"`) {
		quoted, err := strconv.QuotedPrefix(p.rest)
		if err != nil {
			return "", p.unexpected("a quoted name")
		}
		p.rest = p.rest[len(quoted):]
		return strconv.Unquote(quoted)
	}
	name := p.rest[:len(p.rest)-len(strings.TrimLeft(p.rest, wordLetters))]
	if name == "" {
		return "", p.unexpected("a name")
	}
	p.rest = p.rest[len(name):]
	return name, nil
}

const wordLetters = "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func (p *schemaParser) scalar(t *Type) error {
	word := p.rest[:len(p.rest)-len(strings.TrimLeft(p.rest, wordLetters))]
	for k := KindBool; k <= KindDuration; k++ {
		if k.String() == word {
			t.Kind = k
		}
	}
	if t.Kind == 0 {
		return p.unexpected("a type")
	}
	p.rest = p.rest[len(word):]
	if t.Kind != KindInt64 {
		return nil
	}
	if p.take("(millis)") {
		t.Unit = UnitMillis
	} else if p.take("(decimal=") {
		t.Unit = UnitDecimal
		digits, rest, ok := strings.Cut(p.rest, ")")
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || n < 0 || n > digitsMax {
			return p.unexpected("a number of fraction digits")
		}
		t.Digits, p.rest = n, rest
	}
	return nil
}
