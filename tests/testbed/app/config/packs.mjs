// Copyright: fediops.mastodon contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Stands in for the bundler: node config/packs.mjs {vite|webpacker}. Copies each
// source to public/packs under a name with its digest and writes the manifests.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, extname, join } from 'node:path';

const [layout] = process.argv.slice(2);
const root = new URL('..', import.meta.url).pathname;
const packs = join(root, 'public', 'packs');
const folder = layout === 'vite' ? 'entrypoints' : 'packs';

function sources(dir) {
  return readdirSync(join(root, 'app', 'javascript', dir)).sort().map((name) => join(dir, name));
}

// Returns the public name of one built file.
function emit(source, extension, subfolder = '') {
  const text = readFileSync(join(root, 'app', 'javascript', source));
  if (text.includes('@@broken@@')) throw new Error(`Unexpected token in ${source}`);
  const digest = createHash('sha256').update(text).digest('hex').slice(0, layout === 'vite' ? 8 : 20);
  const name = join(subfolder, `${basename(source, extname(source))}-${digest}${extension}`);
  mkdirSync(join(packs, subfolder), { recursive: true });
  writeFileSync(join(packs, name), text);
  return name;
}

function vite() {
  const manifest = {};
  const lookup = {};
  for (const source of sources('styles')) {
    const file = emit(source, '.css', 'assets');
    manifest[source] = { file, src: source, isEntry: true };
    lookup[`styles/${basename(source, extname(source))}`] = manifest[source];
  }
  for (const source of sources(folder)) {
    const name = basename(source, extname(source));
    const style = lookup[`styles/${name}`];
    manifest[source] = { file: emit(source, '.js'), name, src: source, isEntry: true, css: style ? [style.file] : [] };
  }
  const assets = {};
  for (const source of sources('images')) {
    assets[source] = { file: emit(source, extname(source), 'assets'), src: source };
  }
  const write = (name, data) => writeFileSync(join(packs, '.vite', name), `${JSON.stringify(data, null, 2)}\n`);
  mkdirSync(join(packs, '.vite'), { recursive: true });
  write('manifest.json', manifest);
  write('manifest-assets.json', assets);
  write('manifest-lookup.json', lookup);
}

function webpacker() {
  const manifest = { entrypoints: {} };
  const styles = {};
  for (const source of sources('styles')) {
    const name = basename(source, extname(source));
    styles[name] = `/packs/${emit(source, '.css', 'css')}`;
    manifest[`${name}.css`] = styles[name];
  }
  for (const source of sources(folder)) {
    const name = basename(source, extname(source));
    const script = `/packs/${emit(source, '.js', 'js')}`;
    manifest[`${name}.js`] = script;
    manifest.entrypoints[name] = { assets: { js: [script], ...(styles[name] && { css: [styles[name]] }) } };
  }
  for (const source of sources('images')) {
    manifest[`media/${source}`] = `/packs/${emit(source, extname(source), 'media/images')}`;
  }
  writeFileSync(join(packs, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

try {
  rmSync(packs, { recursive: true, force: true });
  mkdirSync(packs, { recursive: true });
  ({ vite, webpacker })[layout]();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
