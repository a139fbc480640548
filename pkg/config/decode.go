package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// document is a decoded file that remembers where each key stood, so that a later check can name the line.
//
// We walk the YAML tree ourselves rather than let the library fill the structs, for two reasons. Its errors quote
// values, and a value in the wrong place may be a secret; and they do not say which connection they are about.
type document struct {
	file  string
	lines map[string]int // key path with indexes, "connections[0].name" → line
	names map[string]string
	// values counts what was decoded, aliases as often as they are used.
	values int
}

// maxValues bounds what aliases may make of a small file. A thousand connections have some fifty thousand values.
const maxValues = 1 << 18

// problem is one thing that is wrong with the file.
type problem struct {
	path string // key path with indexes; "" for the whole file
	text string // what is wrong; and the mend
}

func (p *problem) Error() string { return p.text }

func problemf(path, format string, args ...any) *problem {
	return &problem{path, fmt.Sprintf(format, args...)}
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	secretType   = reflect.TypeFor[Secret]()
)

// decode lays the YAML value n over v, which holds the defaults. A null leaves the default in place.
func (d *document) decode(n *yaml.Node, v reflect.Value, path string) error {
	n = resolve(n)
	if d.values++; d.values > maxValues {
		return problemf("", "holds more than %d values, aliases counted; write fewer", maxValues)
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return nil
	}
	switch {
	case v.Type() == secretType:
		return d.decodeSecret(n, v, path)
	case v.Kind() == reflect.Pointer:
		return d.decodePointer(n, v, path)
	case v.Kind() == reflect.Struct:
		return d.decodeStruct(n, v, path)
	case v.Kind() == reflect.Slice:
		return d.decodeSlice(n, v, path)
	default:
		return decodeScalar(n, v, path)
	}
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (d *document) decodePointer(n *yaml.Node, v reflect.Value, path string) error {
	v.Set(reflect.New(v.Type().Elem()))
	if p, ok := v.Interface().(*Productiv); ok {
		*p = DefaultProductiv("")
	}
	return d.decode(n, v.Elem(), path)
}

func (d *document) decodeStruct(n *yaml.Node, v reflect.Value, path string) error {
	if n.Kind != yaml.MappingNode {
		return problemf(path, "has the wrong shape; write a map of keys")
	}
	fields := fieldsOf(v)
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		field, known := fields[key.Value]
		if key.Kind != yaml.ScalarNode || !known {
			return d.unknownKey(key, path, fields)
		}
		if seen[key.Value] {
			return d.at(key, problemf(at, "is given twice; keep one"))
		}
		seen[key.Value] = true
		d.lines[at] = key.Line
		if err := d.decode(value, field, at); err != nil {
			return err
		}
	}
	return nil
}

// at records the line of a key that is refused before its value is looked at.
func (d *document) at(key *yaml.Node, p *problem) *problem {
	d.lines[p.path] = key.Line
	return p
}

func (d *document) unknownKey(key *yaml.Node, path string, fields map[string]reflect.Value) error {
	known := make([]string, 0, len(fields))
	for name := range fields {
		known = append(known, name)
	}
	slices.Sort(known)
	name := key.Value
	if key.Kind != yaml.ScalarNode || !plainWord(name) { // whatever this is, it may not be ours to print
		name = "(not a plain word)"
	}
	return d.at(key, problemf(join(path, name), "is not a known key; use one of %s", strings.Join(known, ", ")))
}

// plainWord says whether an unknown key may be printed: letters only, and no longer than a long setting's name.
func plainWord(s string) bool {
	return s != "" && len(s) <= 24 && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := make(map[string]reflect.Value, v.NumField())
	for i := range v.NumField() {
		fields[v.Type().Field(i).Tag.Get("yaml")] = v.Field(i)
	}
	return fields
}

func (d *document) decodeSlice(n *yaml.Node, v reflect.Value, path string) error {
	if n.Kind != yaml.SequenceNode {
		return problemf(path, "has the wrong shape; write a list")
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		d.lines[at] = item.Line
		if c, ok := list.Index(i).Addr().Interface().(*Connection); ok {
			*c = DefaultConnection("")
			d.nameConnection(at, resolve(item))
		}
		if err := d.decode(item, list.Index(i), at); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

// nameConnection looks ahead for the name, so that problems with keys above it in the file carry it too.
func (d *document) nameConnection(at string, n *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if name := resolve(n.Content[i+1]).Value; n.Content[i].Value == "name" && namePattern.MatchString(name) {
			d.names[at] = "connections[" + name + "]"
		}
	}
}

// decodeSecret takes {file: PATH}, {env: NAME} or {value: TEXT}; {} names no secret. Nothing of it is ever quoted: the
// commonest mistake is the secret itself in place of the map.
func (d *document) decodeSecret(n *yaml.Node, v reflect.Value, path string) error {
	const mend = "write exactly one of {file: PATH}, {env: NAME} or {value: TEXT}"
	if n.Kind != yaml.MappingNode {
		return problemf(path, "is not a map; %s", mend)
	}
	if len(n.Content) == 0 {
		return nil
	}
	kind, ref := n.Content[0].Value, resolve(n.Content[1])
	if len(n.Content) != 2 || !slices.Contains([]string{"file", "env", "value"}, kind) {
		return problemf(path, "has other keys than it may; %s", mend)
	}
	if ref.Kind != yaml.ScalarNode {
		return problemf(path, "has a %s that is not text; %s", kind, mend)
	}
	text := ref.Value
	if ref.ShortTag() == "!!null" {
		text = ""
	}
	if text == "" && kind != "value" {
		return problemf(path, "has an empty %s; %s", kind, mend)
	}
	v.Set(reflect.ValueOf(secretAt(kind, text)))
	return nil
}

func decodeScalar(n *yaml.Node, v reflect.Value, path string) error {
	switch {
	case n.Kind != yaml.ScalarNode:
		return problemf(path, "has the wrong shape; write a single value")
	case v.Type() == durationType:
		return decodeDuration(n, v, path)
	case v.Kind() == reflect.String:
		v.SetString(n.Value) // the text as it stands: an id of digits is still an id
		return nil
	case v.Kind() == reflect.Bool:
		if n.Decode(v.Addr().Interface()) != nil {
			return problemf(path, "is not a yes or no; write true or false")
		}
		return nil
	default:
		if n.ShortTag() != "!!int" || n.Decode(v.Addr().Interface()) != nil {
			return problemf(path, "is not a whole number; write one such as 10")
		}
		return nil
	}
}

func decodeDuration(n *yaml.Node, v reflect.Value, path string) error {
	d, err := time.ParseDuration(n.Value)
	if err != nil {
		return problemf(path, "is not a duration; write a number with a unit, such as 30s or 6h")
	}
	v.SetInt(int64(d))
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// render makes the one line that an operator reads: file:line: key path: what is wrong; the mend.
func (d *document) render(p *problem) error {
	where, line := d.file, 0
	for at := p.path; at != "" && line == 0; at = parent(at) {
		line = d.lines[at]
	}
	if line > 0 {
		where += ":" + strconv.Itoa(line)
	}
	if p.path == "" {
		return fmt.Errorf("%s: %s", where, p.text)
	}
	return fmt.Errorf("%s: %s: %s", where, d.display(p.path), p.text)
}

// parent cuts the last key or index off a path.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// display puts the connection's name where its index stands.
func (d *document) display(path string) string {
	head, rest, _ := strings.Cut(path, "]")
	if name, ok := d.names[head+"]"]; ok {
		return name + rest
	}
	return path
}
