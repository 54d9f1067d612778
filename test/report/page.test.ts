/** Whatever telemetry says, a page holds it as text. */
import { describe, expect, it } from 'vitest';
import { DASHBOARDS } from '../../deploy/grafana/dashboards.ts';
import type { Panel } from '../../deploy/grafana/panel.ts';
import { type Answered, pageOf } from './page.ts';
import { escaped, shown } from './values.ts';

const HOSTILE = `</td></svg><script>alert(1)</script><img src=x onerror="alert(1)">'&\u202e\0`;

/** A value of a column's type, hostile where it is a text. */
function hostileOf(type: string): unknown {
  if (type === 'String') return HOSTILE;
  if (type.startsWith('DateTime')) return '2026-11-24 11:13:19.000000000';
  if (type.startsWith('Map')) return { kind: HOSTILE, call: HOSTILE, pid: HOSTILE };
  return type.startsWith('Array') ? [HOSTILE] : '12';
}

const rowOf = ({ columns }: Panel) =>
  Object.fromEntries(Object.entries(columns).map(([name, type]) => [name, hostileOf(type)]));

const pageWith = (panels: readonly Answered[]) => {
  const dashboard = DASHBOARDS[0];
  if (dashboard === undefined) throw new Error('no dashboard');
  const fromMs = Date.UTC(2026, 10, 24, 11);
  const span = { fromMs, toMs: fromMs + 3_600_000, stepMs: 60_000 };
  return pageOf({ dashboard, panels, span, marks: [fromMs], scope: HOSTILE, others: [] });
};

describe.each(DASHBOARDS.map(({ title, panels }) => [title, panels] as const))(
  'a page of %s',
  (_, panels) => {
    it('holds hostile texts as texts, in tables, logs and plots', () => {
      const page = pageWith(panels.map((panel) => ({ panel, rows: [rowOf(panel)] })));
      expect(page.match(/<section /g)?.length).toBe(panels.length);
      expect(page).not.toMatch(/<script|<img|<iframe|<foreignObject/i);
      expect(page).not.toMatch(/<[^>]*\son\w+=/i);
      expect(page).not.toMatch(/<\/svg><script|\u202e|\0/);
      expect(page).toContain('&lt;script&gt;');
    });

    it('says so where there is nothing', () => {
      const page = pageWith(panels.map((panel) => ({ panel, rows: [] })));
      expect(page.match(/No data in this time/g)?.length).toBe(panels.length);
      expect(page).not.toContain('NaN');
    });
  },
);

describe('values', () => {
  it('are shown in the unit that a person would use', () => {
    expect([
      ...[shown(1_234_567, 'locale'), shown(1_234_567, 'short'), shown(8443, 'none')],
      ...[shown(1_572_864, 'bytes'), shown(250, 'ms'), shown(90_000, 'ms'), shown(7_300, 's')],
      ...[shown(0, 's'), shown(-3, undefined)],
    ]).toEqual(['1,234,567', '1.2M', '8443', '1.5 MiB', '250 ms', '90 s', '2 h', '0 s', '-3']);
  });

  it('are text in HTML, without what turns text around', () => {
    expect(escaped(`<a href="x">'&\u2066`)).toBe('&lt;a href=&quot;x&quot;&gt;&#39;&amp;\ufffd');
  });
});
