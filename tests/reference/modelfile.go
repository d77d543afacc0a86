// Reads the Modelfiles that the native tests wrote with Ollama's own parser, and runs their templates with Ollama's own
// engine over the conversations beside them.
//
// In a checkout of github.com/ollama/ollama:
//
//	mkdir cmd/modelfile && cp .../tests/reference/modelfile.go cmd/modelfile/main.go
//	INLAY_MODELFILES=/tmp/modelfiles cargo test -p native --features cpu,reader --test text modelfile   (here)
//	go run ./cmd/modelfile /tmp/modelfiles
//
// A line for each; exit code 1 where the text is not that of the model's own template.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/parser"
	"github.com/ollama/ollama/template"
)

// Told is what the tests say of a Modelfile.
type Told struct {
	From          string
	Stops         []string
	HasTemplate   bool `json:"has_template"`
	Conversations []struct {
		Messages []api.Message
		// Without the token that begins it, which Ollama adds.
		Text string
	}
}

func check(folder string) (string, error) {
	var told Told
	bytes, err := os.ReadFile(filepath.Join(folder, "told.json"))
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(bytes, &told); err != nil {
		return "", err
	}
	file, err := os.Open(filepath.Join(folder, "Modelfile"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	read, err := parser.ParseFile(file)
	if err != nil {
		return "", err
	}
	var from, text string
	var stops []string
	for _, command := range read.Commands {
		switch command.Name {
		case "model":
			from = command.Args
		case "template":
			text = command.Args
		case "stop":
			stops = append(stops, command.Args)
		default:
			return "", fmt.Errorf("what is %q?", command.Name)
		}
	}
	if from != told.From || !slices.Equal(stops, told.Stops) || (text != "") != told.HasTemplate {
		return "", fmt.Errorf("FROM %q, stops %q, template %q", from, stops, text)
	}
	if text == "" {
		return "no template", nil
	}
	parsed, err := template.Parse(text)
	if err != nil {
		return "", err
	}
	for _, conversation := range told.Conversations {
		var actual strings.Builder
		if err := parsed.Execute(&actual, template.Values{Messages: conversation.Messages}); err != nil {
			return "", err
		}
		if actual.String() != conversation.Text {
			return "", fmt.Errorf("%q, not %q", actual.String(), conversation.Text)
		}
	}
	return fmt.Sprintf("%d conversations as the template has them, stops %q", len(told.Conversations), stops), nil
}

func main() {
	folders, err := filepath.Glob(filepath.Join(os.Args[1], "*"))
	if err != nil || len(folders) == 0 {
		fmt.Println("no Modelfiles", err)
		os.Exit(1)
	}
	failed := false
	for _, folder := range folders {
		said, err := check(folder)
		if err != nil {
			failed = true
			said = "WRONG: " + err.Error()
		}
		fmt.Printf("%-16s %s\n", filepath.Base(folder), said)
	}
	if failed {
		os.Exit(1)
	}
}
