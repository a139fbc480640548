// Command nacktemplate writes the chart's template of NACK resources; see package nack.
package main

import (
	"fmt"
	"os"

	"github.com/seatwire/seatwire/services/seatwire/nack"
)

func main() {
	text, err := nack.Template()
	if err == nil {
		err = os.WriteFile(os.Args[1], text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
