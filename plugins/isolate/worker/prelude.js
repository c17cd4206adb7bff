// What stands in a fresh isolate before any code of others: the tools, the clock, chance, and the way out.
//
// An expression; the worker keeps its value under a name that nobody can guess.  Everything that is needed
// later is taken here, before others can change it, and nothing below calls a method that code can replace.
// Only strings go in and out.
(() => {
  'use strict';

  const { apply, construct, defineProperty, deleteProperty, getOwnPropertyDescriptor } = Reflect;
  const { create, freeze } = Object;
  const { parse, stringify } = JSON;
  const ThePromise = Promise, TheError = Error, TheTypeError = TypeError, TheDate = Date, TheProxy = Proxy;
  const textOfFunction = Function.prototype.toString;
  const textOfError = Error.prototype.toString;
  const textOfDate = Date.prototype.toString;
  const places = new WeakMap();
  const getPlace = WeakMap.prototype.get, setPlace = WeakMap.prototype.set;
  const sub = String.prototype.slice, wellFormed = String.prototype.isWellFormed;
  const toWord = Number.parseInt;
  const plain = Object.prototype;
  const has = Object.prototype.hasOwnProperty;

  const MOST_CALLS = 1000;
  const MOST_WAITING_UNITS = 4 * 1024 * 1024;
  const MOST_NAME_UNITS = 200;
  const MOST_MESSAGE_UNITS = 2000;
  const FRAMES = 20;

  // ---- the run, from the worker's side ------------------------------------------------------------------

  let job = null;          // {kind, tools, output_bytes, now_ms, tick_ms, seed, around}, as the worker gave it
  let given = '{}';        // the arguments, JSON
  let expected = null;     // the texts that the functions around the source must have
  let taken = null;        // the function that holds the source, once it is proved
  let outcome = null;      // one letter and a text, once a run has ended
  let now = 0;
  let calls = 0;           // made so far
  let asked = create(null), waiting = 0, units = 0;
  let settlers = create(null);
  let flooded = null;

  const failed = (failure, message, place) => 'F' + stringify({
    __proto__: null,   // nor a `toJSON` of others
    failure,
    message: apply(sub, message, [0, MOST_MESSAGE_UNITS]),
    line: place === undefined ? null : place.line,
    column: place === undefined ? null : place.column,
  });

  const said = (error) => {
    try {
      if (typeof error === 'object' && error !== null) {
        error.stack;   // has the place noted, if it is an error
        return '' + (error instanceof TheError ? apply(textOfError, error, []) : error.message ?? 'an object');
      }
      return typeof error === 'symbol' ? 'a symbol' : '' + error;
    } catch {
      return 'an error that cannot be read';
    }
  };

  const ended = (value) => {
    let text;
    if (typeof value === 'string' && value.length > job.output_bytes) {
      outcome ??= failed('output', 'the result is larger than ' + job.output_bytes + ' bytes');
      return;
    }
    try {
      text = value === undefined ? 'null' : stringify(value);
    } catch (error) {
      outcome ??= failed('not JSON', 'the result is not JSON: ' + said(error));
      return;
    }
    if (text === undefined) {
      outcome ??= failed('not JSON', 'the result is a ' + typeof value + ', which JSON does not have');
    } else if (text.length > job.output_bytes) {
      outcome ??= failed('output', 'the result is larger than ' + job.output_bytes + ' bytes');
    } else {
      outcome ??= 'D' + text;
    }
  };

  const threw = (error) => {
    const message = said(error);
    const noted = typeof error === 'object' && error !== null ? apply(getPlace, places, [error]) : undefined;
    outcome ??= failed(error === notAFunction ? 'no function' : 'exception', message, noted);
  };

  const notAFunction = freeze(create(null, { message: { value: 'the source is not a function' } }));

  const entered = () => {
    if (job.kind === 'code') return taken();
    const body = taken();
    if (typeof body !== 'function') throw notAFunction;
    return apply(body, undefined, [parse(given)]);
  };

  // `await` on a promise of the language's own asks no `then`, which code can replace.
  const settle = async () => {
    let value;
    try {
      value = await entered();
    } catch (error) {
      threw(error);
      return;
    }
    ended(value);
  };

  const side = freeze({
    __proto__: null,
    begin(text, args, source) {
      job = parse(text);
      given = args;
      outcome = taken = null;
      now = job.now_ms;
      unsown = job.seed;
      if (job.tools !== null) offer(named, job.tools);
      expected = [];
      for (let i = 0; i < job.around.length; i++) expected[i] = job.around[i][0] + source + job.around[i][1];
    },
    // The parser has read the source as a whole exactly if the functions that hold it have exactly these texts:
    // then it runs.  There is one try.
    take(...functions) {
      let whole = expected !== null && functions.length === expected.length;
      for (let i = 0; whole && i < functions.length; i++) {
        whole = typeof functions[i] === 'function' && apply(textOfFunction, functions[i], []) === expected[i];
      }
      expected = null;
      if (!whole) return;
      taken = functions[0];
      settle();
    },
    drain() {
      if (taken === null) return 'N';
      if (flooded !== null) return failed('calls', flooded);
      if (outcome !== null && outcome[0] === 'F') return outcome;
      if (waiting === 0) {
        return outcome ?? failed('stalled', 'it waits for a promise that nothing can settle');
      }
      let text = '';
      for (let i = 0; i < waiting; i++) text += (i === 0 ? '' : ',') + asked[i];
      asked = create(null);
      waiting = units = 0;
      return 'C[' + text + ']';
    },
    answer(text) {
      const answers = parse(text);
      if (job.tick_ms !== null) now += job.tick_ms;
      for (let i = 0; i < answers.length; i++) {
        const { id, result, error } = answers[i];
        const { resolve, reject } = settlers[id];
        delete settlers[id];
        if (result === null) reject(new TheError(error));
        else resolve(parse(result));
      }
      return '';
    },
  });

  // ---- the tools ----------------------------------------------------------------------------------------

  const asking = (tool) => {
    const ask = (args) => new ThePromise((resolve, reject) => {
      const text = args === undefined ? '{}' : stringify(args);
      if (text === undefined) throw new TheTypeError('the arguments of a tool are a JSON object');
      calls += 1;
      units += text.length;
      if (calls > MOST_CALLS) {
        flooded ??= 'more than ' + MOST_CALLS + ' calls of tools';
      } else if (units > MOST_WAITING_UNITS) {
        flooded ??= 'calls of tools that are too large at once';
      } else {
        settlers[calls] = { __proto__: null, resolve, reject };
        asked[waiting++] = '{"id":' + calls + ',"tool":' + stringify(tool) + ',"arguments":' + stringify(text) + '}';
      }
    });
    return freeze(ask);
  };

  const named = create(null);
  const offer = (where, names) => {
    for (let i = 0; i < names.length; i++) {
      defineProperty(where, names[i], { value: asking(names[i]), enumerable: true });
    }
    freeze(where);
  };

  // A name that is not offered asks as well: the guard refuses it in its own words, and records that.
  const tools = new TheProxy(named, {
    __proto__: null,
    get(target, key) {
      if (typeof key !== 'string' || apply(has, target, [key])) return target[key];
      if (key === 'then' || key === 'toJSON' || key in plain) return undefined;
      if (key.length > MOST_NAME_UNITS || !apply(wellFormed, key, [])) return undefined;
      return asking(key);
    },
  });
  defineProperty(globalThis, 'tools', { value: tools, enumerable: true });

  // ---- the clock ----------------------------------------------------------------------------------------

  const Clock = function Date(...args) {
    if (new.target === undefined) return apply(textOfDate, new TheDate(now), []);
    return construct(TheDate, args.length === 0 ? [now] : args, new.target);
  };
  const hidden = { writable: true, enumerable: false, configurable: true };
  defineProperty(Clock, 'length', { value: 7 });
  defineProperty(Clock, 'prototype', { value: TheDate.prototype, writable: false });
  defineProperty(Clock, 'parse', { ...hidden, value: TheDate.parse });
  defineProperty(Clock, 'UTC', { ...hidden, value: TheDate.UTC });
  defineProperty(Clock, 'now', { ...hidden, value: function () { return now; } });
  defineProperty(TheDate.prototype, 'constructor', { ...hidden, value: Clock });
  defineProperty(globalThis, 'Date', { ...hidden, value: Clock });

  // ---- chance: sfc32 (Chris Doty-Humphrey, PractRand 0.94), 32 bits a step --------------------------------

  let a = 0, b = 0, c = 0, counter = 0, unsown = null;
  const step = () => {
    const word = (a + b | 0) + counter | 0;
    counter = counter + 1 | 0;
    a = b ^ b >>> 9;
    b = c + (c << 3) | 0;
    c = (c << 21 | c >>> 11) + word | 0;
    return word >>> 0;
  };
  // 128 bits: three words of state and the counter; the first twelve steps mix them.
  const sow = (seed) => {
    a = toWord(apply(sub, seed, [0, 8]), 16) | 0;
    b = toWord(apply(sub, seed, [8, 16]), 16) | 0;
    c = toWord(apply(sub, seed, [16, 24]), 16) | 0;
    counter = toWord(apply(sub, seed, [24, 32]), 16) | 0;
    for (let i = 0; i < 12; i++) step();
    unsown = null;
  };
  // 53 bits of two steps, as `genrand_res53` of the Mersenne Twister does it.
  const random = function random() {
    if (unsown !== null) sow(unsown);
    const high = step() >>> 5, low = step() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  };
  defineProperty(Math, 'random', { ...hidden, value: random });

  // ---- stacks: the given source and nothing else ----------------------------------------------------------

  const described = (error, sites) => {
    let text = said_first(error), place;
    for (let i = 0; i < sites.length; i++) {
      const site = sites[i];
      if (site.getScriptNameOrSourceURL() === 'ringfence:prelude') continue;
      // Code may call this with sites of its own: a place is two numbers, whatever they say.
      const line = (site.getLineNumber() | 0) - 1, column = site.getColumnNumber() | 0;
      if (line < 1 || column < 1) continue;
      place ??= freeze({ __proto__: null, line, column });
      text += '\n    at ' + (site.getFunctionName() ?? '<anonymous>') + ' (source:' + line + ':' + column + ')';
    }
    if (place !== undefined) apply(setPlace, places, [error, place]);
    return text;
  };
  const said_first = (error) => {
    try {
      return apply(textOfError, error, []);
    } catch {
      return 'an error that cannot be read';
    }
  };
  defineProperty(TheError, 'prepareStackTrace', { value: described, writable: false, configurable: false });
  TheError.stackTraceLimit = FRAMES;

  // ---- what has no place here: time, threads, memory's own timing, the machine's language ------------------

  const gone = ['WeakRef', 'FinalizationRegistry', 'Atomics', 'SharedArrayBuffer', 'WebAssembly', 'Intl',
    'Temporal', 'console', 'setTimeout', 'clearTimeout', '__timer_manager'];
  for (let i = 0; i < gone.length; i++) {
    // MiniRacer's timers are `var`s, which cannot be deleted.
    if (!deleteProperty(globalThis, gone[i])) globalThis[gone[i]] = undefined;
  }
  const local = [[Number, 'toLocaleString'], [BigInt, 'toLocaleString'], [Array, 'toLocaleString'],
    [Object.getPrototypeOf(Int8Array), 'toLocaleString'], [TheDate, 'toLocaleString'],
    [TheDate, 'toLocaleDateString'], [TheDate, 'toLocaleTimeString']];
  for (let i = 0; i < local.length; i++) deleteProperty(local[i][0].prototype, local[i][1]);
  const text = String.prototype;
  const lower = getOwnPropertyDescriptor(text, 'toLowerCase'), upper = getOwnPropertyDescriptor(text, 'toUpperCase');
  defineProperty(text, 'toLocaleLowerCase', lower);
  defineProperty(text, 'toLocaleUpperCase', upper);
  const localeCompare = function localeCompare(that) {
    const left = '' + this, right = '' + that;
    return left < right ? -1 : left > right ? 1 : 0;
  };
  defineProperty(text, 'localeCompare', { ...hidden, value: localeCompare });

  // ---- a run of our own: what is slow the first time is done before there is a job -------------------------

  const around = [['function () { return (', '); }']];
  side.begin(
    stringify({ kind: 'body', tools: null, output_bytes: 9, now_ms: 0, tick_ms: null, seed: '', around }),
    '{"n":1}',
    '({ n }) => n',
  );
  side.take(function () { return (({ n }) => n); });
  offer(create(null), parse('["one"]'));

  return side;
})()
//# sourceURL=ringfence:prelude
