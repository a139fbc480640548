// Command visitor reaches points, for the tests.
package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/seatwire/seatwire/pkg/failpoint"
)

func main() {
	body := failpoint.Body(failpoint.D10, io.NopCloser(bytes.NewReader(make([]byte, 64<<10))))
	if n, err := io.Copy(io.Discard, body); n != 64<<10 || err != nil {
		fmt.Println("the body is not whole")
	}
	for _, word := range []string{"one", "two", "three"} {
		visit(word)
	}
}

func visit(word string) {
	defer func() {
		if recover() != nil {
			word = "caught"
		}
		fmt.Println(word)
	}()
	failpoint.Hit(failpoint.D11)
}
