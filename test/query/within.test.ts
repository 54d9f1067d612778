/** Whole statements of ours over one tenant: what is put in the place of a table, and what is refused. */
import { describe, expect, it } from 'vitest';
import { ScopeError, within } from '../../query/sql.ts';

describe('within', () => {
  it('puts the tenant’s rows in the place of each table, without content for the bare form', () => {
    const { text, bare, params } = within(
      'acme',
      'SELECT a FROM telltale.events JOIN (SELECT b FROM telltale.alerts) AS c USING (d)',
      { picked: 1 },
    );
    for (const form of [text, bare]) {
      expect(form.match(/tenant = \{tenant:String\}/g)?.length).toBe(2);
      expect(form.match(/FROM telltale\.\w+ WHERE \(tenant = /g)?.length).toBe(2);
    }
    expect(text).toContain('SELECT *, argv_line FROM telltale.events');
    expect(bare).toContain("'' AS argv_line FROM telltale.events");
    expect(bare).toContain("'' AS reason) FROM telltale.alerts");
    expect({ ...params }).toEqual({ tenant: 'acme', picked: 1, journal: 0 });
  });

  it.each([
    ['an unknown table', 'SELECT a FROM telltale.secrets'],
    ['a table that is called as an object has properties', 'SELECT a FROM telltale.constructor'],
    ['a table of the engine', 'SELECT a FROM system.tables'],
    ['a table function', "SELECT a FROM file('x')"],
    ['a table behind a comma', 'SELECT a FROM telltale.events, telltale.alerts'],
    ['a table behind a JOIN', 'SELECT a FROM telltale.events JOIN telltale.alerts USING (b)'],
    ['a table behind an IN', 'SELECT a FROM telltale.events WHERE b IN telltale.alerts'],
    ['two statements', 'SELECT a FROM telltale.events; SELECT 1'],
    ['a comment', 'SELECT a FROM telltale.events -- b'],
    ['a placeholder without a value', 'SELECT {a:String} FROM telltale.events'],
  ])('refuses %s', (_, statement) => {
    expect(() => within('acme', statement, {})).toThrow(ScopeError);
  });

  it('refuses no tenant, and a value that would be another tenant’s', () => {
    expect(() => within('', 'SELECT a FROM telltale.events', {})).toThrow(ScopeError);
    const values = { tenant: 'globex' };
    expect(() => within('acme', 'SELECT a FROM telltale.events', values)).toThrow(ScopeError);
  });
});
