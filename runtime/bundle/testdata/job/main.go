// Command job is a program to be packed.
package main

import "os"

func main() { _, _ = os.Stdout.WriteString("packed\n") }
