// Command probe asks an address such as http://127.0.0.1:8080/readyz and exits with 0 when the answer is 200, with 1 for
// any other answer or none. It is the health check inside of images that have no shell and no curl.
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: probe URL")
		os.Exit(2)
	}
	client := http.Client{Timeout: 3 * time.Second}
	answer, err := client.Get(os.Args[1]) //nolint:noctx // the client's time limit is all there is to say
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if answer.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, answer.Status)
		os.Exit(1)
	}
}
