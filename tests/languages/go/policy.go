// Does what the field x-do of a request says: see ../conformance.cases.toml.
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"portcullis/policy/body"
	"portcullis/policy/clock"
	"portcullis/policy/crypto"
	"portcullis/policy/exchange"
	"portcullis/policy/httpclient"
	"portcullis/policy/log"
	"portcullis/policy/matchers"
	"portcullis/policy/metrics"
	"portcullis/policy/outcome"
	"portcullis/policy/random"
	"portcullis/policy/ratelimit"
	"portcullis/policy/request"
	"portcullis/policy/response"
	"portcullis/policy/secrets"
	"portcullis/policy/store"
	"portcullis/policy/types"
)

var (
	settings = struct {
		Greeting string `json:"greeting"`
	}{Greeting: "hello"}
	networks matchers.NetworkSet
)

func main() {}

func Configure(config []byte) error {
	if err := json.Unmarshal(config, &settings); err != nil {
		return err
	}
	if settings.Greeting == "" {
		return errors.New("/greeting: it is empty: ✗")
	}
	var err error
	networks, err = matchers.MakeNetworkSet("192.168.0.0/16\n10.0.0.0/8\n")
	return err
}

func OnRequestHead() error {
	query, _ := request.Query()
	if err := exchange.SetState([]byte(request.Method() + " " + request.Path() + " (" + query + ")")); err != nil {
		return err
	}
	what, _ := request.Header("x-do")
	result, err := do(what)
	if err != nil || result == "" {
		return err
	}
	return exchange.SetAttribute("result", result)
}

func OnRequestBody() error {
	if what, _ := request.Header("x-do"); what != "upper" {
		return nil
	}
	if !body.IsLast() {
		return body.Collect()
	}
	upper := body.Read(0, body.Size())
	for at, letter := range upper {
		if letter >= 'a' && letter <= 'z' {
			upper[at] = letter - 'a' + 'A'
		}
	}
	return body.Replace(body.Size(), upper)
}

func OnResponseHead() error {
	return errors.Join(
		response.SetHeader("x-greeting", settings.Greeting),
		response.SetHeader("x-state", string(exchange.State())),
	)
}

func OnResponseBody() error {
	if what, _ := request.Header("x-do"); what != "stream" || body.Size() == 0 {
		return nil
	}
	size := body.Size()
	return body.Replace(size, bytes.Join([][]byte{[]byte("["), body.Read(0, size), []byte("]")}, nil))
}

func OnCompleted() error {
	return exchange.SetAttribute("done", fmt.Sprint(outcome.Status()))
}

// What an error is, without the name of the interface.
func why(err error) string {
	if err == nil {
		return "done"
	}
	_, text, _ := strings.Cut(err.Error(), ": ")
	kind, rest, more := strings.Cut(text, ": ")
	kind = strings.ReplaceAll(kind, " ", "-")
	if more {
		return kind + ": " + rest
	}
	return kind
}

func do(what string) (string, error) {
	switch what {
	case "edit":
		return "", errors.Join(
			request.SetHeader("x-a", "1"),
			request.AppendHeader("x-a", "zwölf"),
			request.RemoveHeader("x-gone"),
			request.SetPathAndQuery("/new?q=1"),
		)
	case "reply":
		return "", exchange.Reply(403, []types.Field{{Name: "x-why", Value: "weil"}}, []byte("unmöglich ✗\n"))
	case "binary":
		if err := request.SetHeaderBytes("x-bin", []byte{0xff, 'a'}); err != nil {
			return "", err
		}
		text, _ := request.Header("x-bin")
		raw, _ := request.HeaderBytes("x-bin")
		return fmt.Sprintf("%s %d", text, len(raw)), nil
	case "forbidden":
		err := request.SetHeader("transfer-encoding", "chunked")
		if !errors.Is(err, types.Refused{Kind: types.RefusedForbidden}) {
			return "", fmt.Errorf("another error: %w", err)
		}
		return why(err), nil
	case "fail":
		return "", errors.New("it failed: größer ✗")
	case "crash":
		var none map[string]int
		none["a"] = 1
	case "loop":
		for {
		}
	case "allocate":
		var all [][]byte
		for {
			all = append(all, make([]byte, 1<<20))
		}
	case "log":
		log.Log(log.LevelInfo, "eine Zeile ✓", nil)
		log.Log(log.LevelWarn, "another", []types.Field{{Name: "key", Value: "wört"}})
	case "clock":
		return fmt.Sprint(clock.NowMs()), nil
	case "random":
		some, err := random.Bytes(16)
		_, tooMany := random.Bytes(5000)
		return fmt.Sprintf("%d %s", len(some), why(tooMany)), err
	case "metrics":
		metrics.Add(metrics.Counter("seen", []types.Field{{Name: "label", Value: "wert"}}), 2)
		metrics.Observe(metrics.Histogram("size", nil), 1.5)
	case "secret":
		known, _ := secrets.Get("password")
		if _, found := secrets.Get("other"); found {
			return "", errors.New("a secret that was not granted")
		}
		return string(known) + " none", nil
	case "rate":
		verdict := ratelimit.Check("me", ratelimit.Quota{Requests: 1, PerMs: 1000}, 1)
		return fmt.Sprintf("%t %d %d", verdict.Allowed, verdict.Remaining, verdict.RetryAfterMs), nil
	case "store":
		return stored()
	case "digest":
		sum, err := crypto.Digest("sha-256", []byte("abc"))
		_, unsupported := crypto.Digest("md5", nil)
		return hex.EncodeToString(sum[:4]) + " " + why(unsupported), err
	case "json":
		return values()
	case "network":
		at, found, err := matchers.FindClient(networks)
		if !found {
			return "none", err
		}
		return fmt.Sprint(at), err
	case "ask":
		answer, err := httpclient.Send(httpclient.Outbound{
			Method:  "GET",
			URL:     "https://auth.internal/check",
			Headers: []types.Field{{Name: "x-a", Value: "b"}},
		})
		if err != nil {
			return why(err), nil
		}
		var fields []string
		for _, field := range answer.Headers {
			fields = append(fields, field.Name+"="+field.Value)
		}
		return fmt.Sprintf("%d %s %s", answer.Status, strings.Join(fields, " "), answer.Body), nil
	}
	return "", nil
}

func stored() (string, error) {
	before := "none"
	if value, found, _ := store.Get("wert"); found {
		before = string(value)
	}
	if err := store.Set("wert", []byte("wert"), nil); err != nil {
		return "", err
	}
	minute := uint64(60000)
	number, _ := store.Increment("zahl", 1, &minute)
	names, _ := store.List("")
	value, _, _ := store.Get("wert")
	_, err := store.Increment("wert", 1, nil)
	return fmt.Sprintf("%s %s %d %s %s", before, value, number, strings.Join(names, ","), why(err)), nil
}

func values() (string, error) {
	document := []byte(`{"a": {"b": "ü"}, "c": [1.5, true, null]}`)
	found, err := matchers.ReadJSON(document, []string{"/a/b", "/c/0", "/c/1", "/c/2", "/d"})
	var shown []string
	for _, value := range found {
		switch {
		case value == nil:
			shown = append(shown, "none")
		case value.Kind == matchers.JSONValueText:
			shown = append(shown, "text "+value.Text)
		case value.Kind == matchers.JSONValueNumber:
			shown = append(shown, "number "+value.Text)
		case value.Kind == matchers.JSONValueBoolean:
			shown = append(shown, fmt.Sprintf("boolean %t", value.Bool))
		case value.Kind == matchers.JSONValueNull:
			shown = append(shown, "null")
		}
	}
	return strings.Join(shown, ", "), err
}
