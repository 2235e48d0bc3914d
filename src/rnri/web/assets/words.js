// Words: how a target differs from its source, and which of its words are outside the model's vocabulary.

const split = (text) => text.match(/\s+|[^\s]+/g) || [];
const bare = (word) => word.toLowerCase().replace(/^[^\p{L}\d]+|[^\p{L}\d]+$/gu, "");
const isSpace = (part) => /^\s/.test(part);

// Which words of `target` are in no longest common subsequence with `source`: true where a word is new or has changed.
function changedWords(source, target) {
  const a = split(source).filter((part) => !isSpace(part)).map(bare);
  const b = split(target).filter((part) => !isSpace(part)).map(bare);
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const changed = b.map(() => true);
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) { changed[j] = false; i++; j++; }
    else if (table[i + 1][j] >= table[i][j + 1]) i++;
    else j++;
  }
  return changed;
}

// Words of `text` that are not in `known`; none where the model has no list of words.
function unknownWords(text, known) {
  if (!known.size) return [];
  const words = text.toLowerCase().match(/\p{L}+/gu) || [];
  return [...new Set(words)].filter((word) => !known.has(word));
}

// Lay the target, with its changed and unknown words marked, under the text field.
function inkWords(ink, source, target, known) {
  const changed = changedWords(source, target), unknown = new Set(unknownWords(target, known));
  let n = 0;
  ink.replaceChildren(...split(target).map((part) => {
    if (isSpace(part)) return document.createTextNode(part);
    const word = document.createElement("span");
    word.textContent = part;
    if (changed[n++]) word.classList.add("rn-changed");
    if ((part.toLowerCase().match(/\p{L}+/gu) || []).some((letters) => unknown.has(letters))) word.classList.add("rn-unknown");
    return word;
  }), "\n");
  return [...unknown];
}
