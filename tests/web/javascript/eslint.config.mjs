/** The rules for inworld.js, for its tests, and for the script in the page of the example. */

import { createRequire } from "node:module";

// The packages are in a folder of the cache, not beside this file.
const require = createRequire(`${process.env.INWORLD_NODE_FOLDER}/`);
const js = require("@eslint/js");
const globals = require("globals");

const rules = {
  ...js.configs.recommended.rules,
  "array-callback-return": "error",
  "consistent-return": "error",
  curly: ["error", "multi-line"],
  eqeqeq: "error",
  "no-console": "error",
  "no-eval": "error",
  "no-implied-eval": "error",
  "no-new-func": "error",
  "no-promise-executor-return": "off",
  "no-restricted-properties": [
    "error",
    ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({
      property,
      message: "The text of a server is not HTML. Use textContent.",
    })),
  ],
  "no-shadow": "error",
  "no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
  "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
  "no-var": "error",
  "object-shorthand": "error",
  "prefer-const": "error",
  "prefer-template": "error",
};
const worklet = { AudioWorkletProcessor: "readonly", registerProcessor: "readonly" };
const clock = { currentFrame: "readonly", sampleRate: "readonly" };

export default [
  {
    files: ["inworld_sync/web/static/*.js", "examples/*.js"],
    languageOptions: { globals: { ...globals.browser, ...worklet, ...clock } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules,
  },
  {
    files: ["tests/web/javascript/*.mjs"],
    languageOptions: { globals: { ...globals.node, document: "readonly", window: "readonly" } },
    rules,
  },
];
