// Asking the server. The token comes in the address's fragment, which no browser sends anywhere, and is kept for this tab alone.

const key = "wormhole-token";

if (/^#[A-Za-z0-9_-]{20,}$/.test(location.hash)) {
  sessionStorage.setItem(key, location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}
addEventListener("hashchange", () => { // A new address was pasted over that of this page.
  if (/^#[A-Za-z0-9_-]{40,}$/.test(location.hash)) {
    sessionStorage.setItem(key, location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
  }
});

// Failed is what the server, or the daemon behind it, said instead of an answer; code is "gone" where the server itself did not answer.
export class Failed extends Error {
  constructor(e) {
    super(e.message || "failed");
    this.code = e.code || "failed";
    this.hint = e.hint || "";
  }
}

export async function ask(name, question) {
  let response, answer;
  try {
    response = await fetch("api/" + name, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: "Bearer " + (sessionStorage.getItem(key) || "") },
      body: JSON.stringify(question),
    });
    answer = await response.json();
  } catch {
    throw new Failed({ code: "gone", message: "wh dashboard does not answer", hint: "start it again: wh dashboard" });
  }
  if (!response.ok) throw new Failed(answer);
  return answer;
}
