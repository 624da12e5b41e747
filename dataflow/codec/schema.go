package codec

import (
	"strconv"
	"strings"
)

// appendSchema writes the canonical text of t. See docs/formats/codec.md for
// its grammar.
func appendSchema(sb *strings.Builder, t *Type) {
	switch t.Kind {
	case KindStruct:
		sb.WriteByte('{')
		for i, f := range t.Fields {
			if i > 0 {
				sb.WriteByte(',')
			}
			sb.WriteString(quoteName(f.Name))
			sb.WriteByte(':')
			appendSchema(sb, f.Type)
		}
		sb.WriteByte('}')
	case KindArray:
		sb.WriteString("[" + strconv.Itoa(t.Len) + "]")
		appendSchema(sb, t.Elem)
	case KindSlice:
		sb.WriteString("[]")
		appendSchema(sb, t.Elem)
	case KindMap:
		sb.WriteString("map[")
		appendSchema(sb, t.Key)
		sb.WriteByte(']')
		appendSchema(sb, t.Elem)
	case KindPointer:
		sb.WriteByte('?')
		appendSchema(sb, t.Elem)
	default:
		sb.WriteString(t.Kind.String())
		switch t.Unit {
		case UnitDecimal:
			sb.WriteString("(decimal=" + strconv.Itoa(t.Digits) + ")")
		case UnitMillis:
			sb.WriteString("(millis)")
		}
	}
}

// quoteName quotes a field name unless it is made of letters, digits and
// underscores.
func quoteName(name string) string {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return strconv.Quote(name)
		}
	}
	if name == "" {
		return `""`
	}
	return name
}
