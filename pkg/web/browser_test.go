package web_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/web/webtest"
)

var update = flag.Bool("update", false, "take the pictures in docs anew")

// pictureMax is how large a picture in docs may be.
const pictureMax = 150 << 10

// open opens the dashboard of an API in a browser, and waits until it is live.
func open(t *testing.T, f *fake) *webtest.Browser {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	b := webtest.Open(t)
	b.Go(serve(t, f, clock.Real{}) + "/#" + token)
	b.Until(time.Minute, `document.getElementById("live").dataset.state === "good" && document.querySelector("#conflicts-list > *")`)
	return b
}

// quiet fails if the page threw anything, or wanted what its policy forbids.
func quiet(t *testing.T, b *webtest.Browser) {
	t.Helper()
	if said := b.Said(); len(said) != 0 {
		t.Errorf("the page said: %q", said)
	}
}

// A thousand pods and a million files must be as easy to look at as ten.
func TestManyPodsAndFiles(t *testing.T) {
	f := newFake(1000, 1_000_000)
	b := open(t, f)
	if n := webtest.Value[int](b, `document.querySelectorAll("#picture [data-pod]").length`); n != 1000 {
		t.Errorf("the picture has %d pods", n)
	}
	if n := webtest.Value[int](b, `document.querySelectorAll("#pods-table tbody tr").length`); n != 25 {
		t.Errorf("the table has %d rows at first", n)
	}
	if s := webtest.Value[string](b, `document.querySelector("#pods-table tbody td").textContent`); s != "down" {
		t.Errorf("the first pod of the table is %s: those with trouble come first", s)
	}
	webtest.Value[bool](b, `document.getElementById("pods-filter").focus() || true`)
	b.Keys("pod-0777")
	b.Until(20*time.Second, `document.querySelectorAll("#pods-table tbody tr").length === 1`)

	took := webtest.Value[float64](b, `(async () => {
		const { drawPods } = await import("./pods.js");
		const h = { "Content-Type": "application/json", Authorization: "Bearer " + sessionStorage.getItem("wormhole-token") };
		const a = await (await fetch("api/now", { method: "POST", headers: h, body: "{}" })).json();
		const began = performance.now();
		drawPods(a.sections.status.pods, a.sections.peers);
		document.body.getBoundingClientRect();
		return performance.now() - began;
	})()`)
	t.Logf("1,000 pods are drawn in %.0f ms", took)
	if took > 500 {
		t.Errorf("1,000 pods are drawn in %.0f ms", took)
	}

	b.Keys("/") // is typed into the filter, which has the focus
	if v := webtest.Value[string](b, `document.getElementById("pods-filter").value`); v != "pod-0777/" {
		t.Errorf("the filter has %q", v)
	}
	webtest.Value[bool](b, `document.activeElement.blur(), true`)
	b.Keys("/")
	if id := webtest.Value[string](b, `document.activeElement.id`); id != "where-path" {
		t.Errorf("the key / brings one to %q", id)
	}
	b.Keys("/big/file-0999999")
	b.Until(20*time.Second, `document.querySelectorAll("#where-list li button").length === 2 && document.getElementById("where-list").textContent.includes("file-0999999")`)
	b.Keys(kb.Enter)
	b.Until(20*time.Second, `document.querySelectorAll("#where-picture [data-holder=fragment]").length > 1000`)
	if s := webtest.Value[string](b, `document.querySelector("#where-picture").innerText`); !contains(s, "5000 chunks", "rs:4+2", "degraded 5/6", "chunks 0 to 255 of 5000") {
		t.Errorf("the picture says %q", s)
	}
	webtest.Value[bool](b, `[...document.querySelectorAll("#where-picture button")].find((x) => x.textContent === "Later chunks").click() || true`)
	b.Until(20*time.Second, `document.getElementById("where-picture").innerText.includes("chunks 256 to 511 of 5000")`)
	quiet(t, b)
}

// Names come from other pods: one that is HTML, or turns the direction of text, is shown as it is, in every place.
func TestHostileNames(t *testing.T) {
	b := open(t, newFake(3, 10))
	b.Until(20*time.Second, `document.querySelectorAll("#where-list li button").length === 2`)
	b.Until(20*time.Second, `document.querySelector("#hot-list button")`)
	want := `<img src=x onerror="window.taken=1">\u{202e}gnp\xff<script>window.taken=1</script>`
	if s := webtest.Value[string](b, `document.getElementById("title").textContent`); !contains(s, "lab <img src=x", `\u{202e}gnp<script>`) {
		t.Errorf("the title is %q", s)
	}
	for _, place := range []string{"warnings", "where-list", "conflicts-list", "hot-list"} {
		if s := webtest.Value[string](b, `document.getElementById(`+webtest.Text(place)+`).textContent`); !contains(s, want) {
			t.Errorf("%s shows %q", place, s)
		}
	}
	if n := webtest.Value[int](b, `document.querySelectorAll("main img, main script").length`); n != 0 {
		t.Errorf("names have made %d elements", n)
	}
	if webtest.Value[bool](b, `"taken" in window`) {
		t.Error("a name ran")
	}
	quiet(t, b)
}

// A conflict ends by keyboard alone, after a question, at the path whose bytes the pod gave, whatever they are.
func TestResolve(t *testing.T) {
	f := newFake(3, 10)
	b := open(t, f)
	b.Until(20*time.Second, `document.querySelectorAll(".conflict").length === 100 && document.getElementById("conflicts-list").textContent.includes("and 50 more")`)
	first := `document.querySelector(".conflict [data-keep=theirs]")`
	webtest.Value[bool](b, first+`.focus() || true`)
	b.Keys(kb.Enter)
	b.Until(20*time.Second, `document.getElementById("ask").open && document.activeElement.id === "ask-no"`)
	b.Keys(kb.Escape)
	b.Until(20*time.Second, `!document.getElementById("ask").open`)
	webtest.Value[bool](b, first+`.focus() || true`)
	b.Keys(kb.Enter)
	b.Until(20*time.Second, `document.getElementById("ask").open`)
	webtest.Value[bool](b, `document.getElementById("ask-yes").focus() || true`)
	b.Keys(kb.Enter)
	b.Until(20*time.Second, `document.getElementById("conflicts-said").textContent.startsWith("Resolved")`)
	f.mu.Lock()
	did := f.did
	f.mu.Unlock()
	if diff := cmp.Diff(did, []api.ResolveRequest{{Path: "/docs/" + hostile, Keep: "theirs"}}); diff != "" {
		t.Errorf("got, want:\n%s", diff)
	}
	b.Until(20*time.Second, `document.getElementById("conflicts-count").textContent === "149"`)
	quiet(t, b)
}

// While nobody looks, nothing is asked; and what is shown is said to be old when the daemon is gone.
func TestLooking(t *testing.T) {
	f := newFake(3, 10)
	b := open(t, f)
	hide := func(hidden bool) {
		webtest.Value[bool](b, fmt.Sprintf(`Object.defineProperty(document, "hidden", { configurable: true, get: () => %v }), document.dispatchEvent(new Event("visibilitychange"))`, hidden))
	}
	hide(true)
	time.Sleep(1500 * time.Millisecond) // what was under way
	before := f.count("status") + f.count("usage")
	time.Sleep(3 * time.Second)
	if n := f.count("status") + f.count("usage") - before; n != 0 {
		t.Errorf("%d questions while nobody looked", n)
	}
	hide(false)
	b.Until(20*time.Second, `true`)
	for began := time.Now(); f.count("status")+f.count("usage") == before; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("no question after the page was looked at again")
		}
	}
	f.fail(api.WithHint(fmt.Errorf("/h: %w", api.ErrNoDaemon), "start it with: wh up --detach"))
	b.Until(20*time.Second, `document.getElementById("live").textContent.includes("wh up --detach") && document.getElementById("verdict").textContent === "Not known"`)
	f.fail(nil)
	b.Until(20*time.Second, `document.getElementById("live").dataset.state === "good" && document.getElementById("verdict").textContent === "Needs attention"`)
	quiet(t, b)
}

// Without the token, or with that of an earlier run, the page says what to do.
func TestNoToken(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	b := webtest.Open(t)
	b.Go(serve(t, newFake(3, 3), clock.Real{}))
	b.Until(time.Minute, `document.getElementById("live").textContent.includes("open the address that wh dashboard prints")`)
}

// The page is readable on a phone: nothing is wider than it. With -update, the pictures of docs are taken.
func TestPictures(t *testing.T) {
	b := open(t, demonstration())
	b.Window(360, 740)
	if w := webtest.Value[int](b, `document.documentElement.scrollWidth`); w > 360 {
		t.Errorf("on a window 360 wide the page is %d wide", w)
	}
	b.Window(1040, 640)
	for range 6 { // the plots have something to show
		before := webtest.Value[string](b, `document.getElementById("live").textContent`)
		b.Until(20*time.Second, `document.getElementById("live").textContent !== `+webtest.Text(before))
	}
	quiet(t, b)
	for _, scheme := range []string{"light", "dark"} {
		b.Scheme(scheme)
		back := webtest.Value[string](b, `getComputedStyle(document.body).backgroundColor`)
		if want := map[string]string{"light": "rgb(244, 245, 248)", "dark": "rgb(18, 20, 26)"}[scheme]; back != want {
			t.Errorf("%s: the background is %s", scheme, back)
		}
		file := "../../docs/dashboard-" + scheme + ".png"
		if *update {
			b.Screenshot(file)
		}
		if info, err := os.Stat(file); err != nil || info.Size() > pictureMax {
			t.Errorf("%s: %v, at most %d bytes", file, err, pictureMax)
		}
	}
}

// demonstration is a small network, of which a pod has just been lost.
func demonstration() *fake {
	f := newFake(7, 5)
	st := f.answers["status"].(api.Status)
	st.NetworkName, st.Name, st.Reasons = "photos", "anna", []string{"pod dora is down"}
	st.Warnings = []api.Warning{{Code: "pod_down", Title: "A pod is lost", Text: "pod dora is down, last heard at 2026-11-27T09:28:11Z", Severity: "error", Todo: "start that machine, or its daemon (wh up); if it won't come back: wh pod remove NAME", Since: at}}
	peers := f.answers["peers"].([]api.Peer)
	for i, name := range []api.Text{"anna", "ben", "carl", "dora", "emil", "nas", "shed"} {
		p := &st.Pods[i]
		p.Name, p.UsedBytes, p.FreeBytes = name, int64(120+37*i)<<30, int64(800-60*i)<<30
		p.Zone = []string{"home", "home", "office", "office", "office", "home", "garden"}[i]
		if name == "dora" {
			p.State, p.LastSeen = "down", &at
		}
		if i > 0 {
			peers[i-1].Name, peers[i-1].Connected, peers[i-1].Direct = name, name != "dora", name != "shed"
			peers[i-1].SentBytesPerS, peers[i-1].ReceivedBytesPerS = int64(3*i)<<20, int64(i)<<20
		}
	}
	f.set("status", st)
	f.set("conflicts", []api.Conflict{{Path: "/docs/plan.odt", Kind: "contents", Versions: []api.ConflictVersion{
		{ID: "18874369.112", Path: "/docs/plan.odt", Pod: "anna", Ours: true, Time: &at, Kind: "file", Size: 48_211},
		{ID: "18874371.87", Path: "/docs/plan.conflict-ben.odt", Pod: "ben", Time: &at, Kind: "file", Size: 47_930},
	}}})
	return f
}

func contains(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
