package secrets

import (
	"slices"
	"strings"
	"testing"

	"ecsagent/agent/secret"
)

func TestParseReference(t *testing.T) {
	for in, want := range map[string]reference{
		asmARN + "a/b-AbCdEf":                             {id: asmARN + "a/b-AbCdEf"},
		asmARN + "a:k::":                                  {id: asmARN + "a", key: "k"},
		asmARN + "a:::":                                   {id: asmARN + "a"},
		asmARN + "a:k:AWSPREVIOUS:":                       {id: asmARN + "a", key: "k", stage: "AWSPREVIOUS"},
		asmARN + "a::AWSCURRENT:":                         {id: asmARN + "a"},
		asmARN + "a:k:AWSCURRENT:v":                       {id: asmARN + "a", key: "k", stage: "AWSCURRENT", version: "v"},
		asmARN + "a:::0f-1":                               {id: asmARN + "a", version: "0f-1"},
		strings.Replace(asmARN, "aws", "aws-cn", 1) + "a": {id: strings.Replace(asmARN, "aws", "aws-cn", 1) + "a"},
		"": {}, "a": {}, "arn:aws:secretsmanager:r:1:secret": {}, asmARN: {}, asmARN + ":k::": {},
		asmARN + "a:": {}, asmARN + "a:k:": {}, asmARN + "a:k:::": {}, "arn:aws:secretsmanager:r:1:other:a": {}, "arn:aws:ssm:r:1:secret:a": {},
	} {
		got, err := parseReference(in)
		if got != want || (err == nil) != (want.id != "") {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "with value "+in+" resulted") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestBareName(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a", "/a": "a", "/a/b": "a/b", "a:3": "a", "/a/b:label": "a/b",
		ssmARN + "/a": "a", ssmARN + "/a/b:3": "a/b", "arn:aws-cn:ssm:cn-north-1:1:parameter/x": "x", "arn:x": "arn", "": "",
	} {
		if got := bareName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, seed := range []string{asmARN + "a:k:s:v", asmARN + "a", "arn:::::secret:", "", "::::::::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r, err := parseReference(in)
		if err != nil {
			return
		}
		again, err := parseReference(r.id + ":" + r.key + ":" + r.stage + ":" + r.version)
		if err != nil || again != r || !strings.HasPrefix(in, r.id) {
			t.Errorf("%q: %+v, and again %+v, %v", in, r, again, err)
		}
	})
}

// No parameter is lost or asked for twice, and no call has a name twice.
func FuzzBatches(f *testing.F) {
	f.Add("a b /a arn:aws:ssm:r:1:parameter/a a:1 c d e f g h i j k l m")
	f.Fuzz(func(t *testing.T, names string) {
		var keys []parameter
		for i, n := range strings.Fields(names) {
			if k := (parameter{"role", []string{"r", "q"}[i%2], n}); !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
		count := 0
		for _, b := range ssmBatches(keys) {
			seen := make(map[string]bool)
			for _, k := range b {
				if seen[bareName(k.name)] || k.region != b[0].region || len(b) > ssmBatch {
					t.Errorf("%q: batch %v", names, b)
				}
				seen[bareName(k.name)] = true
				count++
			}
		}
		if count != len(keys) {
			t.Errorf("%q: %d of %d", names, count, len(keys))
		}
	})
}

// No reply makes a mistake show its text.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{
		`{"Parameters":[{"Name":"a","Value":"canary-77aa"}],"InvalidParameters":["b"]}`, `{"SecretString":"canary-77aa"}`,
		`{"SecretValues":[{"ARN":"x-AbCdEf","SecretString":"canary-77aa"}],"Errors":[{"SecretId":"x"}]}`, `{"SecretString":5}`, `canary-77aa`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _, one := readParameters(body)
		_, two := readValue(body)
		var batch batchReply
		three := batch.read(body)
		_, _ = member(secret.String(body), "canary-77aa")
		for _, err := range []error{one, two, three} {
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("%q: %v", body, err)
			}
		}
	})
}

func TestBatchReply(t *testing.T) {
	var b batchReply
	if err := b.read([]byte(`{"SecretValues":[{"ARN":"arn:n-AbCdEf-AbCdEf","SecretString":"longer"},{"ARN":"arn:n-AbCdEf","SecretString":"exact"},{"ARN":"arn:bin"}],"Errors":[{"SecretId":"arn:no"}]}`)); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"arn:n-AbCdEf": "exact", "arn:n-AbCdEf-AbCdEf": "longer", "arn:n": "exact"} {
		if got, ok := b.find(id); got.Reveal() != want || !ok {
			t.Errorf("%s: %q, %v", id, got.Reveal(), ok)
		}
	}
	for _, id := range []string{"arn:bin", "arn:no", "arn:other", "arn:n-AbCd"} {
		if _, ok := b.find(id); ok {
			t.Errorf("the reply has a text for %s", id)
		}
	}
}
