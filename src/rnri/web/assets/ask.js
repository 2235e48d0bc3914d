// Asking the server: one answer for each question, and a line for whoever looks at the page where there is none.

const AGAIN = "Trying again; nothing you typed is gone.";

// The functions of the server, each by its name. An answer is what the server says, `{error: line}` where it refuses or
// fails, or `{lost: line}` where nothing answers, so that it is worth asking again. `seconds` says how long to wait.
function asking(names, seconds) {
  const ask = async (name, asked) => {
    let response;
    try {
      response = await fetch(new URL(`page/${name}`, document.baseURI), {
        method: "POST", body: JSON.stringify(asked), headers: { "Content-Type": "application/json" },
        signal: AbortSignal.timeout(1000 * seconds()),
      });
      if (response.ok) return await response.json();
    } catch (error) {
      return { lost: error.name === "TimeoutError" ? `The server has not answered for ${seconds()} s. ${AGAIN}` : `The connection is lost. ${AGAIN}` };
    }
    const told = await response.json().catch(() => null);
    if (told?.detail) return { error: `${told.detail}.` };
    return { lost: `What stands before the server answers ${response.status} instead of it. ${AGAIN}` };
  };
  return Object.fromEntries(names.map((name) => [name, (asked) => ask(name, asked)]));
}
