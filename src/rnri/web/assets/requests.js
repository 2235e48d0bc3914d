// Requests to the server: each has one answer, or a line that the page shows.

const AGAIN = "Trying again; nothing you typed is gone.";

// The handlers of the server by name. An answer is the server's object, `{error: line}` where it refuses or fails, or
// `{lost: line}` where nothing answers, so that the request can be sent again. `seconds()` is the deadline.
function requests(names, seconds) {
  const request = async (name, body) => {
    let response;
    try {
      response = await fetch(new URL(`page/${name}`, document.baseURI), {
        method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
        signal: AbortSignal.timeout(1000 * seconds()),
      });
      if (response.ok) return await response.json();
    } catch (error) {
      return { lost: error.name === "TimeoutError" ? `The server has not answered for ${seconds()} s. ${AGAIN}` : `The connection is lost. ${AGAIN}` };
    }
    const problem = await response.json().catch(() => null);
    if (problem?.detail) return { error: `${problem.detail}.` };
    return { lost: `A proxy answers ${response.status} instead of the server. ${AGAIN}` };
  };
  return Object.fromEntries(names.map((name) => [name, (body) => request(name, body)]));
}
